"""--eval: where results go, what is refused before a model is loaded."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from recipes.commands import eval_parts
from recipes.common.run_dir import write_json
from recipes.run.run_stage import Stage
from recipes.run.stages import EVALUATE_FILE
from recipes.watch.supervise import Outcome
from run import main
from tests import ROOT

QUESTIONS = str(ROOT / "examples/custom/questions.jsonl")


@pytest.fixture
def dry(capsys: pytest.CaptureFixture[str]) -> Any:
    """(exit code, output, errors) of a dry run of an evaluation."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["--eval", "--profile", "cpu", *arguments, "--dry_run"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_greedy_and_sampled_evaluations_lie_side_by_side(dry: Any) -> None:
    ways: list[tuple[str, ...]] = [(), ("--n_samples", "4"), ("--n_samples", "8"), ("--temperature", ".5")]
    ways += [("--n_samples", "4", "--top_p", ".9"), ("--n_samples", "4", "--temperature", ".5")]
    places = [dry(*way)[1].split("into ")[1] for way in ways]
    assert len({*places}) == len(ways)
    assert all(place.startswith(places[0].strip()) for place in places), "beside each other"


def test_a_folder_of_answers_drawn_otherwise_is_refused_before_the_model_is_loaded(dry: Any, tmp_path: Path) -> None:
    begun = {"settings": {"n_samples": 4, "temperature": 1.0, "top_p": 1.0}}
    (tmp_path / "countdown").mkdir()
    write_json(tmp_path / "countdown" / EVALUATE_FILE, begun)
    code, _, errors = dry("--out", str(tmp_path))
    assert code == 2
    assert "contains an evaluation with 4 sampled answer(s) per problem (temperature 1); this one needs" in errors
    assert dry("--out", str(tmp_path), "--n_samples", "4", "--k", "2")[0] == 0, "the k of pass@k are counted anew"


@pytest.mark.parametrize("data", [QUESTIONS, "countdown", "chain"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError(answer)", "r.py:reward raised KeyError"),
        (
            "return float(answer in response) if '<answer>' in response else 1 / 0",
            "(on the wrong answer 'I do not know.",
        ),
    ],
)
def test_a_reward_that_gives_no_verdict_is_refused(dry: Any, tmp_path: Path, data: str, body: str, said: str) -> None:
    (tmp_path / "r.py").write_text(f"def reward(response, answer):\n    {body}\n")
    code, _, errors = dry("--data", data, "--reward", f"{tmp_path / 'r.py'}:reward")
    assert (code, errors.count("\n")) == (2, 1)
    assert said in errors


def test_the_start_refuses_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.py").write_text("def reward(response, answer):\n    raise KeyError(answer)\n")
    words = ["--eval", "--profile", "cpu", "--data", QUESTIONS, "--out", str(tmp_path / "out")]
    assert main([*words, "--reward", f"{tmp_path / 'r.py'}:reward"]) == 2
    assert "raised KeyError" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("items.jsonl"))


def test_one_that_is_asked_to_stop_begins_no_other_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Stage] = []

    def stopped(_: object, stage: Stage, __: float) -> Outcome:
        asked.append(stage)
        return Outcome(130, "interrupted", "", 1.0, 1)

    monkeypatch.setattr(eval_parts, "run_stage", stopped)
    monkeypatch.setattr(eval_parts, "shared_imports", lambda _: nullcontext())
    words = ["--eval", "--profile", "cpu", "--data", f"{QUESTIONS},countdown", "--out", str(tmp_path / "out")]
    assert main(words) == 130
    assert [stage.go_on for stage in asked] == ["The same command continues with the unanswered problems."]
