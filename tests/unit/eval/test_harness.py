"""Suites of lm-evaluation-harness: tables, shots, local data, our grader, scores; with a model that knows it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (docs/evaluation_suites.md)")

from lm_eval.api.model import LM

from eval.harness import evaluate_suite, main, run_harness, table
from eval.harness_tasks import (
    SUITES,
    HarnessError,
    final_answer,
    grade_mathematics,
    load_suite,
    task_configs,
)
from eval.models import ADAPTER_CONFIG, ModelError
from tests.helpers.harness_files import ITEMS, RIGHT, WRONG, write_new, write_old


@pytest.fixture(autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True, raising=False)
    # Seconds of looking at the machine, which our results do not use.
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)


class Model(LM):
    """Finds every continuation with a word of `likes` likely, and answers every question with `says`."""

    def __init__(self, likes: tuple[str, ...], says: str = "") -> None:
        super().__init__()
        self.likes = likes
        self.says = says
        self.prompts: list[str] = []

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        self.prompts += [request.args[0] for request in requests]
        return [(-1.0, True) if self._liked(request.args) else (-50.0, False) for request in requests]

    def _liked(self, arguments: tuple[str, str]) -> bool:
        prompt, continuation = arguments
        # Winogrande's candidates stand in the prompt, all others in the continuation.
        return any(like in (prompt.splitlines()[-1] if "shed" in continuation else continuation) for like in self.likes)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        raise AssertionError("no suite asks for it")

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        self.prompts += [request.args[0] for request in requests]
        return [self.says for _ in requests]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    write_old(folder)
    return folder


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    write_new(folder)
    return folder


def test_the_shots_of_the_leaderboards_are_the_published_ones() -> None:
    assert {b.name: b.shots for b in SUITES["leaderboard_new"]} == {
        "bbh": 3,
        "gpqa": 0,
        "mmlu_pro": 5,
        "musr": 0,
        "ifeval": 0,
        "math_hard": 4,
    }
    assert {b.name: b.shots for b in SUITES["leaderboard_old"]} == {
        "gsm8k": 5,
        "truthfulqa": 0,
        "winogrande": 5,
        "arc_challenge": 25,
        "hellaswag": 10,
        "mmlu": 5,
    }


def test_groups_hold_all_their_tasks() -> None:
    counts = {name: len(task_configs(name)) for name in ("leaderboard_bbh", "mmlu", "leaderboard_math_hard")}
    assert counts == {"leaderboard_bbh": 24, "mmlu": 57, "leaderboard_math_hard": 7}


def test_a_model_that_knows_everything_scores_one(old: Path) -> None:
    loaded = load_suite("leaderboard_old", old)
    model = Model((RIGHT, " B"), says="It is 7. #### 7")
    found = evaluate_suite(model, loaded)
    assert {name: b["score"] for name, b in found.results["benchmarks"].items()} == {
        "gsm8k": 1.0,
        "truthfulqa": pytest.approx(1.0),
        "winogrande": 1.0,
        "arc_challenge": 1.0,
        "hellaswag": 1.0,
        "mmlu": 1.0,
    }
    assert found.results["mean"] == pytest.approx(1.0)
    assert found.results["benchmarks"]["mmlu"]["items"] == 57 * ITEMS
    # The worked examples really are in the prompts.
    assert max(prompt.count("Question:") for prompt in model.prompts) == 26
    by_benchmark = {sample["benchmark"] for sample in found.samples}
    assert by_benchmark == {benchmark.name for benchmark in SUITES["leaderboard_old"]}
    assert "| mmlu | 5 | 171 | acc | 100.0% |" in table({**found.results, "skipped": []})


def test_a_model_that_knows_nothing_scores_zero_and_a_limit_limits(old: Path) -> None:
    loaded = load_suite("leaderboard_old", old, skip=["mmlu", "hellaswag", "winogrande"])
    found = evaluate_suite(Model((WRONG,), says="#### 8"), loaded, limit=2)
    assert {name: b["items"] for name, b in found.results["benchmarks"].items()} == {
        "gsm8k": 2,
        "truthfulqa": 2,
        "arc_challenge": 2,
    }
    assert found.results["mean"] == pytest.approx(0.0, abs=1e-9)


def test_the_new_leaderboard_runs_and_mathematics_is_graded_by_our_verifier(new: Path) -> None:
    loaded = load_suite("leaderboard_new", new, skip=["ifeval"])
    said = "Half of it. Final Answer: The final answer is $0.5$. I hope it is correct."
    found = evaluate_suite(Model((RIGHT, " B", "(B)"), says=said), loaded)
    scores = {name: b["score"] for name, b in found.results["benchmarks"].items()}
    assert scores["math_hard"] == 1.0
    assert scores["musr"] == 1.0
    assert scores["mmlu_pro"] == 1.0
    assert 0.0 < scores["bbh"] < 1.0
    # Easier problems of the file are no part of the benchmark.
    assert found.results["benchmarks"]["math_hard"]["items"] == 7 * ITEMS
    algebra = found.results["tasks"]["leaderboard_math_algebra_hard"]
    assert (algebra["shots"], algebra["version"]) == (4, "3.0-uft")
    assert algebra["scores"]["unreadable,none"] == 0.0


def test_shuffled_options_follow_the_seed_alone_and_stay_with_their_key(new: Path) -> None:
    def gpqa(seed: int, *skip: str) -> list[Any]:
        loaded = load_suite("leaderboard_new", new, skip=["bbh", "mmlu_pro", "ifeval", "math_hard", *skip], seed=seed)
        return [each for each in loaded if each.benchmark.name == "gpqa"]

    def keys(seed: int, *skip: str) -> list[str]:
        return [document["answer"] for task in gpqa(seed, *skip)[0].tasks for document in task.eval_docs]

    assert keys(0) == keys(0, "musr")
    assert len({tuple(keys(seed)) for seed in range(4)}) > 1
    for seed in range(3):
        for sample in evaluate_suite(Model(()), gpqa(seed), seed=seed).samples:
            assert f"{sample['target']} r\n" in sample["prompt"]


def test_hashes_tell_what_was_asked(old: Path, tmp_path: Path) -> None:
    def hash_of(folder: Path) -> str:
        loaded = load_suite("leaderboard_old", folder, skip=[b.name for b in SUITES["leaderboard_old"][1:]])
        return str(evaluate_suite(Model(()), loaded).results["tasks"]["gsm8k"]["hash"])

    assert hash_of(old) == hash_of(old)
    for split in ("train", "test"):
        lines = (old / f"gsm8k/main/{split}.jsonl").read_text().replace("q0", "another question")
        (tmp_path / "gsm8k/main").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"gsm8k/main/{split}.jsonl").write_text(lines)
    assert hash_of(tmp_path) != hash_of(old)


def test_benchmarks_that_cannot_be_loaded_are_all_named_with_a_way_out(new: Path, tmp_path: Path) -> None:
    (tmp_path / "MuSR").symlink_to(new / "MuSR")
    with pytest.raises(HarnessError) as raised:
        load_suite("leaderboard_new", tmp_path, skip=["math_hard", "mmlu_pro"])
    message = str(raised.value)
    assert "3 of 6 benchmarks cannot be loaded" in message
    assert f"bbh: {tmp_path}/bbh: no file test.jsonl" in message
    assert "--skip bbh gpqa ifeval" in message
    assert "pip install --no-deps langdetect" in message


def test_without_the_harness_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.harness_tasks.find_spec", lambda name: None)
    with pytest.raises(HarnessError, match=r"pip install --no-deps --require-hashes -r requirements/locked-eval\.txt"):
        load_suite("villm")


def test_the_gated_benchmark_explains_how_to_get_access() -> None:
    with pytest.raises(HarnessError, match="hf auth login") as raised:
        load_suite("leaderboard_new", skip=["bbh", "mmlu_pro", "musr", "ifeval", "math_hard"])
    assert "huggingface.co/datasets/Idavidrein/gpqa" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "leaderboard"}, "unknown; there are leaderboard_new"),
        ({"suite": "villm", "skip": ["gsm8k"]}, "not in villm, which has lambada_vi"),
        ({"suite": "villm", "local_data": Path("/nowhere")}, "/nowhere: no such folder"),
        ({"suite": "villm", "skip": [b.name for b in SUITES["villm"]]}, "leaves nothing"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        load_suite(**arguments)


def test_too_few_items_for_the_worked_examples_are_found_before_the_run(old: Path, tmp_path: Path) -> None:
    for split, most in (("train", 5), ("test", 3)):
        lines = (old / f"gsm8k/main/{split}.jsonl").read_text().splitlines(keepends=True)[:most]
        (tmp_path / "gsm8k/main").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"gsm8k/main/{split}.jsonl").write_text("".join(lines))
    with pytest.raises(HarnessError, match="gsm8k has 5 items to take worked examples from, but needs 6"):
        load_suite("leaderboard_old", tmp_path, skip=[b.name for b in SUITES["leaderboard_old"][1:]])


def test_worked_examples_are_never_taken_from_what_is_evaluated(old: Path, tmp_path: Path) -> None:
    (tmp_path / "ai2_arc/ARC-Challenge").mkdir(parents=True)
    (tmp_path / "ai2_arc/ARC-Challenge/test.jsonl").symlink_to(old / "ai2_arc/ARC-Challenge/test.jsonl")
    others = [b.name for b in SUITES["leaderboard_old"] if b.name != "arc_challenge"]
    with pytest.raises(HarnessError, match=r"ARC-Challenge: no file train\.jsonl"):
        load_suite("leaderboard_old", tmp_path, skip=others)


def test_parquet_files_with_the_hubs_names_are_read(old: Path, tmp_path: Path) -> None:
    import pandas as pd

    for split in ("train", "test"):
        frame = pd.read_json(old / f"gsm8k/main/{split}.jsonl", lines=True)
        (tmp_path / "gsm8k/main").mkdir(parents=True, exist_ok=True)
        frame.to_parquet(tmp_path / f"gsm8k/main/{split}-00000-of-00001.parquet")
    loaded = load_suite("leaderboard_old", tmp_path, skip=[b.name for b in SUITES["leaderboard_old"][1:]])
    assert evaluate_suite(Model((), says="#### 7"), loaded).results["mean"] == 1.0


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("Final Answer: The final answer is $\\frac12$. I hope it is correct.", "$\\frac12$"),
        ("the final answer is 7.\nProblem: next", "7"),
        ("Thus \\boxed{x + 1} holds.", "x + 1"),
        ("The final answer is \n", None),
        ("The final answer is unknown to me", "unknown to me"),
        ("no idea", None),
        ("", None),
    ],
)
def test_the_final_answer_is_found(response: str, answer: str | None) -> None:
    assert final_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "graded"),
    [
        ("The final answer is $0.5$. I hope it is correct.", (1.0, 0.0)),
        ("The final answer is $\\frac{2}{4}$.", (1.0, 0.0)),
        ("The final answer is $\\frac{1}{3}$.", (0.0, 0.0)),
        ("I do not know.", (0.0, 1.0)),
    ],
)
def test_mathematics_is_equal_by_value(response: str, graded: tuple[float, float]) -> None:
    found = grade_mathematics({"answer": "\\frac{1}{2}"}, [response])
    assert (found["exact_match"], found["unreadable"]) == graded
    assert found["grader_failed"] == 0.0


def test_a_verifier_at_its_limit_is_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from reward_fns import registry

    def slow(answer: str, gold: str) -> dict[str, Any]:
        raise registry.LimitReached("too long")

    monkeypatch.setattr(registry, "verify", slow)
    found = grade_mathematics({"answer": "1"}, ["\\boxed{1}"])
    assert found == {"exact_match": 0.0, "unreadable": 0.0, "grader_failed": 1.0}


def test_models_and_limits_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--limit 0"):
        run_harness("villm", "any/model", tmp_path, limit=0)
    with pytest.raises(ModelError, match=f"no {ADAPTER_CONFIG} in it"):
        run_harness("villm", "any/model", tmp_path, lora=tmp_path)


def test_the_command_line_explains_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--suite", "villm", "--model", "any/model", "--out", str(tmp_path), "--local_data", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["harness", *arguments])
    assert main() == 2
    assert "4 of 4 benchmarks cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
