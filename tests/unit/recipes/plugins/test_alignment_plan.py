"""Plans of offline alignment: kept on disk whole, refused in words, and the rows and steps they lead to."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.countdown import generate as countdown
from data_prep.prompt_styles import STYLES, restyle
from data_prep.schema import read_rows
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.run import build_stages as course
from recipes.settings.profiles import PROFILES
from recipes.trl_plugin import plan as plans
from recipes.trl_plugin.rows import load_held_out, load_training, prompt_length, run_order
from tests.helpers.alignment_checks import plan


def test_plan_survives_the_way_through_its_file(tmp_path: Path) -> None:
    whole = plan(tmp_path, tmp_path, "una", alignment={"sft_ratio": 0.5}, resume_from="x")
    plans.write_plan(whole, tmp_path)
    assert plans.read_plan(tmp_path) == whole


@pytest.mark.parametrize(
    ("method", "alignment", "changes", "named"),
    [
        ("una", {"micro_batch_size": 3}, {}, "--micro_batch_size 3: .*Nearest: --micro_batch_size [24]"),
        ("una", {}, {"devices": 3}, "3 devices. Nearest: --batch_size [69]"),
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
    with pytest.raises(ExperimentError, match=r"no row that una can train on .*dpo takes pairs"):
        plans.total_steps(two, 0)


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


@pytest.mark.parametrize("method", ["sft", "dpo", "una"])
def test_rows_with_longer_prompts_than_asked_are_left_out_and_counted(method: str, tmp_path: Path) -> None:
    """A token is a letter here; answers do not count."""

    def encode(prompt: list[dict[str, str]], completion: str) -> tuple[list[int], list[int]]:
        return [1] * len(prompt[-1]["content"]), [2] * len(completion)

    free = plan(tmp_path, tmp_path, method, alignment={"max_prompt_length": None})
    rows = load_training(free, encode).rows
    lengths = sorted(prompt_length(row) for row in rows)
    limit = lengths[len(lengths) // 3]
    held = replace(free, alignment=replace(free.alignment, max_prompt_length=limit))
    found = load_training(held, encode)
    assert found.rows == [row for row in rows if prompt_length(row) <= limit]
    assert found.left_out[f"prompt longer than {limit} tokens"] == len(rows) - len(found.rows) > 0
    assert all(len(prompt) <= limit for prompt, _ in load_held_out(held, encode).completions)
    nothing = replace(free, alignment=replace(free.alignment, max_prompt_length=1))
    with pytest.raises(ExperimentError, match=r"no prompt of .* fits in 1 tokens; raise --max_prompt_length"):
        load_training(nothing, encode)


def test_the_longest_prompt_of_answers_is_limited_only_where_it_is_given() -> None:
    flags = {"algo": "dpo", "data": "countdown_preference"}
    assert build_experiment(flags, PROFILES["cpu"]).alignment.max_prompt_length is None
    given = build_experiment({**flags, "max_prompt_length": 99}, PROFILES["cpu"])
    assert given.alignment.max_prompt_length == 99
    assert given.hash != build_experiment(flags, PROFILES["cpu"]).hash


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
