"""Plans of offline alignment: kept on disk whole, refused in words, and the rows and steps they lead to."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_prep import countdown
from data_prep.prompt_styles import STYLES, restyle
from data_prep.schema import read_rows
from recipes import course
from recipes.experiment import ExperimentError
from recipes.profiles import PROFILES
from recipes.resolve import build_experiment
from recipes.trl_plugin import plan as plans
from recipes.trl_plugin.rows import run_order
from tests.alignment_checks import plan


def test_plan_survives_the_way_through_its_file(tmp_path: Path) -> None:
    whole = plan(tmp_path, tmp_path, "una", alignment={"sft_ratio": 0.5}, resume_from="x")
    plans.write_plan(whole, tmp_path)
    assert plans.read_plan(tmp_path) == whole


@pytest.mark.parametrize(
    ("method", "alignment", "changes", "named"),
    [
        ("una", {"micro_batch_size": 3}, {}, "--micro_batch_size 3"),
        ("una", {}, {"devices": 3}, "3 devices"),
        ("dpo", {"sft_ratio": 1.0}, {}, "--sft_ratio"),
        ("una", {"sft_ratio": 1.0, "feedback": "pairwise"}, {}, "--feedback pairwise"),
        ("ppo", {}, {}, "ppo"),
        ("dpo", {}, {"logger": ("comet",)}, "comet"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, method: str, alignment: dict, changes: dict, named: str) -> None:
    with pytest.raises(ExperimentError, match=named):
        plans.check_plan(plan(tmp_path, tmp_path, method, alignment=alignment, **changes))


def test_four_bit_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    four = plan(tmp_path, tmp_path, "dpo", alignment={"load_in_4bit": True})
    monkeypatch.setattr(plans.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExperimentError, match="pip install bitsandbytes"):
        plans.check_machine(replace(four, device="cuda", lora_rank=8))


def test_problems_before_and_after_are_asked_as_the_model_is_trained(tmp_path: Path) -> None:
    flags = {"algo": "dpo", "data": "countdown_preference", "prompt_style": "chat", "val_size": 8}
    problems = course._verification(build_experiment(flags, PROFILES["cpu"]))
    assert problems is not None
    countdown.prepare(tmp_path / "data", n_train=8, n_test=8, seed=0, max_number=30, operators="+-*")
    small = replace(problems, data=str(tmp_path / "data"))
    asked = [row["prompt"] for row in read_rows(course._test_problems(small, tmp_path / "run"))]
    assert all("User and Assistant" not in each[-1]["content"] for each in asked)
    assert asked[0] == restyle(read_rows(tmp_path / "data/test.parquet")[0], STYLES["chat"], "row")["prompt"]


def test_steps_count_whole_batches_over_all_epochs(tmp_path: Path) -> None:
    two = plan(tmp_path, tmp_path, "una", alignment={"epochs": 2.5})
    assert plans.total_steps(two, 20) == 50 // 8
    assert plans.total_steps(replace(two, max_steps=3), 20) == 3
    with pytest.raises(ExperimentError, match="fewer than one batch"):
        plans.total_steps(two, 3)


def test_rows_are_counted_as_each_method_sees_them(tmp_path: Path) -> None:
    # 24 prompts, each with three scored answers and one instruction.
    counts = {
        ("sft", "score", 0.0): 24,
        ("dpo", "score", 0.0): 24,
        ("kto", "score", 0.0): 48,
        ("una", "pairwise", 0.0): 24,
        ("una", "binary", 0.0): 48,
        ("una", "score", 0.0): 72,
        ("una", "score", 0.25): 72 + 18,
        ("una", "binary", 0.5): 48 + 24,
    }
    for (method, feedback, ratio), count in counts.items():
        one = plan(tmp_path, tmp_path, method, alignment={"feedback": feedback, "sft_ratio": ratio})
        assert plans.count_rows(one) == count, (method, feedback, ratio)


def test_too_many_instructions_are_refused_with_the_file(tmp_path: Path) -> None:
    one = plan(tmp_path, tmp_path, "una", alignment={"sft_ratio": 2.0})
    with pytest.raises(ExperimentError, match=r"train\.parquet.*--sft_ratio"):
        plans.count_rows(one)


def test_order_takes_every_row_once_an_epoch_and_a_longer_run_begins_alike() -> None:
    order = run_order(10, 25, seed=1)
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20]
    assert run_order(10, 12, seed=1) == order[:12]
    assert run_order(10, 10, seed=2) != order[:10]
