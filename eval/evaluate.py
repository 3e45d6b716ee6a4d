"""Scores a model's answers to a file in our schema, with the prompts, engine and rewards of training's validation.

    python -m eval.evaluate --model out/<name> --data data/countdown/test.parquet --out out/eval --n_samples 8
writes items.jsonl (one line per problem and sample; a stopped evaluation resumes), results.json, and if answers are
sampled greedy.jsonl (a greedy answer to each problem).
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from data_prep.prompt_styles import STYLES, question_text
from data_prep.schema import content_hash
from eval.generate import GREEDY, generate
from eval.metrics import summarise
from eval.models import Weights, chosen_weights, resolve_model
from eval.problems import EvaluationError, Problem, Settings, load_problems
from recipes.common.run_dir import read_json, write_json, write_text
from reward_fns import compute_score
from reward_fns.votes import votes

ITEMS, GREEDY_ITEMS, RESULTS, SETTINGS = "items.jsonl", "greedy.jsonl", "results.json", "settings.json"


def judge(settings: Settings, problem: Problem, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with its verdict: a line of items.jsonl."""
    verdict = compute_score(
        problem.data_source,
        answer["output"],
        problem.ground_truth,
        {"question": question_text(problem.messages)},
        reward=settings.reward,
        answer_format=STYLES[settings.prompt_style].answer_format,
    )
    group = {"group": problem.group} if problem.group else {}
    return {**answer, "data_source": problem.data_source, **group, **verdict, "ground_truth": problem.ground_truth}


def with_votes(settings: Settings, problem: Problem, judged: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The judged samples of one problem, each with its vote: the number of the first sample equal to it."""
    read = [None if item["parse_fail"] else str(item["pred"]) for item in judged]
    right = [item["acc"] for item in judged]
    chosen = votes(problem.data_source, read, right, problem.ground_truth, reward=settings.reward)
    return [
        {**item, "vote": None if place is None else judged[place]["sample"]}
        for item, place in zip(judged, chosen, strict=True)
    ]


def evaluate(
    settings: Settings,
    out: Path,
    *,
    device: str,
    gpu_memory: float = 0.9,
    ks: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Generate, score and summarise into `out`; what is already in items.jsonl is kept.

    Args:
        gpu_memory: share of a GPU's memory for the engine.
        ks: the k of pass@k; default 1, 2, 4 .. n_samples.

    Returns:
        the content of results.json: settings, versions, seconds, eval.metrics.summarise of the items, and if they are
        sampled that of the greedy answers, as "greedy".

    Raises:
        EvaluationError: if `out` holds an evaluation with other settings.
    """
    started = time.time()
    items, greedy = _begin(settings, out)
    problems = load_problems(settings)
    done = {item["problem"] for item in items}
    left = [problem for problem in problems if problem.number not in done]
    by_number = {problem.number: problem for problem in left}
    progress(len(done), len(problems))
    if left:
        with ThreadPoolExecutor() as threads:
            for answers in generate(settings, left, Weights(settings.model, settings.adapter), device, gpu_memory):
                verdicts = list(threads.map(lambda a: judge(settings, by_number[a["problem"]], a), answers))
                judged = [item for item in verdicts if item["sample"] != GREEDY]
                beside = [item for item in verdicts if item["sample"] == GREEDY]
                if settings.n_samples > 1:
                    parts = [list(part) for _, part in groupby(judged, key=lambda item: item["problem"])]
                    voted = threads.map(lambda p: with_votes(settings, by_number[p[0]["problem"]], p), parts)
                    judged = [item for part in voted for item in part]
                if beside:
                    _append(out / GREEDY_ITEMS, beside)
                _append(out / ITEMS, judged)
                items, greedy = items + judged, greedy + beside
                progress(len({item["problem"] for item in items}), len(problems))
    # Reading an evaluation again does not add to its time.
    before = read_json(out / RESULTS)
    spent = before.get("seconds", 0.0) + (time.time() - started if left or not before else 0.0)
    result = {
        **summarise(items, ks),
        **({"greedy": summarise(greedy)} if greedy else {}),
        "settings": asdict(settings),
        "settings_hash": settings.hash,
        "seconds": round(spent, 1),
        "versions": {name: version(name) for name in ("vllm", "torch", "transformers", "math-verify")},
    }
    if json.loads(json.dumps(result)) != before:
        write_json(out / RESULTS, result)
    return result


def _begin(settings: Settings, out: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The complete problems of an earlier start with the same settings: (items, greedy answers)."""
    out.mkdir(parents=True, exist_ok=True)
    saved = out / SETTINGS
    if saved.exists() and json.loads(saved.read_text()) != json.loads(json.dumps(asdict(settings))):
        raise EvaluationError(f"{out} holds an evaluation with other settings ({saved}); choose another folder")
    write_json(saved, asdict(settings))
    asked = {ITEMS: settings.n_samples, GREEDY_ITEMS: 1} if settings.greedy_beside else {ITEMS: settings.n_samples}
    found = {name: whole_lines(out / name) for name in asked}
    counts = {name: Counter(item["problem"] for item in items) for name, items in found.items()}
    for name, items in found.items():
        kept = [item for item in items if all(counts[each][item["problem"]] == n for each, n in asked.items())]
        found[name] = kept
        if (out / name).exists():
            write_text(out / name, "".join(_line(item) for item in kept))
    return found[ITEMS], found.get(GREEDY_ITEMS, [])


def whole_lines(file: Path) -> list[dict[str, Any]]:
    """The complete lines of a .jsonl file, up to one truncated by a kill."""
    found: list[dict[str, Any]] = []
    # Not splitlines(): answers may contain other line separators.
    for line in file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def _append(file: Path, items: Sequence[dict[str, Any]]) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write("".join(map(_line, items)))
        lines.flush()
        os.fsync(lines.fileno())


def _line(item: dict[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=False) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Hugging Face name or folder, run, checkpoint or adapter")
    parser.add_argument("--data", required=True, type=Path, help="parquet file in our schema")
    parser.add_argument("--out", required=True, type=Path, help="folder for items.jsonl and results.json")
    parser.add_argument("--sources", nargs="*", default=[], help="only rows of these data sources")
    parser.add_argument(
        "--prompt_style", choices=STYLES, default="completion", help="the style of the prompts in --data"
    )
    parser.add_argument("--reward", help="a reward's name or path/to/file.py:function; default: by the data")
    parser.add_argument("--n_samples", type=int, default=1, help="answers per problem")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top_p", type=float, default=1.0)
    parser.add_argument("--max_prompt_length", type=int, default=1024)
    parser.add_argument("--max_response_length", type=int, default=1024)
    parser.add_argument("--limit", type=int, default=-1, help="number of problems; -1 is all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    given = vars(parser.parse_args())
    out, device, data = given.pop("out"), given.pop("device"), given.pop("data")
    weights = resolve_model(given.pop("model"))
    print(f"weights: {chosen_weights(weights)}", file=sys.stderr)
    settings = Settings(
        model=weights.path,
        adapter=weights.adapter,
        data=str(data.resolve()),
        data_hash=content_hash(data),
        dtype="float32" if device == "cpu" else "bfloat16",
        **{**given, "sources": tuple(given["sources"])},
    )
    print(json.dumps(evaluate(settings, out, device=device), indent=1))


if __name__ == "__main__":
    main()
