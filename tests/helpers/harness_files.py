"""Local copies, in the hub's formats, of what the leaderboards of lm-evaluation-harness load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eval.harness_tasks import task_configs

ITEMS = 3
RIGHT, WRONG = "zebra", "quagga"


def write(path: Path, items: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in items), encoding="utf-8")


def write_old(folder: Path) -> None:
    """ITEMS items of every benchmark of leaderboard_old; the right answer says RIGHT, or is 7."""
    many = range(26)
    write(folder / "gsm8k/main/train.jsonl", [{"question": f"t{n}", "answer": f"t. #### {n}"} for n in many])
    write(folder / "gsm8k/main/test.jsonl", [{"question": f"q{n}", "answer": "so. #### 7"} for n in range(ITEMS)])
    truth = {"choices": [RIGHT, WRONG], "labels": [1, 0]}
    questions = [{"question": f"q{n}", "mc1_targets": truth, "mc2_targets": truth} for n in range(ITEMS)]
    write(folder / "truthful_qa/multiple_choice/validation.jsonl", questions)
    sides = {"option1": WRONG, "option2": RIGHT, "answer": "2"}
    for split, count in (("train", 26), ("validation", ITEMS)):
        sentences = [{"sentence": f"The {split} {n} saw that _ shed hair.", **sides} for n in range(count)]
        write(folder / f"winogrande/winogrande_xl/{split}.jsonl", sentences)
    for split, count in (("train", 26), ("validation", 2), ("test", ITEMS)):
        choices = {"text": [WRONG, RIGHT, "gnu"], "label": ["A", "B", "C"]}
        arc = [{"question": f"{split} {n}", "choices": choices, "answerKey": "B"} for n in range(count)]
        write(folder / f"ai2_arc/ARC-Challenge/{split}.jsonl", arc)
    context = {"ctx_a": "It runs", "ctx_b": "and", "activity_label": "Zoo", "endings": [WRONG, "gnu", RIGHT, "emu"]}
    for split, count in (("train", 26), ("validation", ITEMS)):
        write(
            folder / f"hellaswag/{split}.jsonl",
            [{**context, "ctx_a": f"{split} {n}", "label": "2"} for n in range(count)],
        )
    for config in task_configs("mmlu"):
        for split, count in (("dev", 5), ("test", ITEMS)):
            mmlu = [{"question": f"{split} {n}", "choices": list("wxyz"), "answer": 1} for n in range(count)]
            write(folder / f"mmlu/{config['dataset_name']}/{split}.jsonl", mmlu)


def write_new(folder: Path) -> None:
    """ITEMS items of every benchmark of leaderboard_new that can be loaded without further packages."""
    for config in task_configs("leaderboard_bbh"):
        options = config["doc_to_choice"]
        target = options[-1] if isinstance(options, list) else "(B)"
        bbh = [{"input": f"q{n}", "target": target} for n in range(ITEMS)]
        write(folder / f"bbh/{config['dataset_name']}/test.jsonl", bbh)
    for split in ("validation", "test"):
        pro = [{"question": f"{split} {n}", "options": list("uvwxyz"), "answer": "B"} for n in range(6)]
        write(folder / f"MMLU-Pro/{split}.jsonl", pro)
    for split in ("murder_mysteries", "object_placements", "team_allocation"):
        choices = json.dumps([WRONG, RIGHT])
        story = {"narrative": "n", "question": "who", "choices": choices, "answer_choice": RIGHT, "answer_index": 1}
        write(folder / f"MuSR/{split}.jsonl", [story] * ITEMS)
    wrong = {f"Incorrect Answer {n}": f"w{n}" for n in (1, 2, 3)}
    for subset in ("gpqa_diamond", "gpqa_extended", "gpqa_main"):
        gpqa = [{"Question": f"q{n}", "Correct Answer": "r", **wrong} for n in range(ITEMS)]
        write(folder / f"gpqa/{subset}/train.jsonl", gpqa)
    solved = {"problem": "1/4 + 1/4?", "solution": r"So \boxed{\frac{1}{2}}.", "level": "Level 5"}
    for config in task_configs("leaderboard_math_hard"):
        easy = {**solved, "level": "Level 1"}
        write(folder / f"MATH-lighteval/{config['dataset_name']}/test.jsonl", [easy] + [solved] * ITEMS)
