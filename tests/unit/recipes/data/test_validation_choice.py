"""--val_size N: the same problems in training's validation, in the stages of a run and in an evaluation."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.countdown import generate as countdown
from data_prep.split import chosen_rows
from eval.problems import Settings, load_problems
from recipes.common.errors import ExperimentError
from recipes.data.copies import narrowed, styled
from recipes.data.datafiles import locate
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from tests import ROOT


@given(st.integers(0, 300), st.integers(-1, 320))
def test_as_many_as_asked_for_in_the_files_order_and_a_smaller_choice_within_a_larger(total: int, size: int) -> None:
    chosen = chosen_rows(total, size)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(total))
    assert len(chosen) == (min(size, total) if size > 0 else total)
    if 0 < size < total:
        assert set(chosen) <= set(chosen_rows(total, size + 1))


def test_the_choice_is_spread_over_a_file_that_is_sorted_by_difficulty() -> None:
    """The UFT repository's kk_logic test file: 100 problems with 3 people, then 100 with 4, ..."""
    people = [row // 100 for row in chosen_rows(500, 50)]
    assert min(people.count(kind) for kind in range(5)) >= 5


def test_the_choice_is_the_same_on_every_machine() -> None:
    assert chosen_rows(100, 5) == [29, 66, 72, 90, 99]


@pytest.mark.parametrize("style", ["completion", "chat"])
@pytest.mark.parametrize("size", [-1, 7, 500])
def test_training_and_evaluation_take_the_same_problems(style: str, size: int, tmp_path: Path) -> None:
    countdown.prepare(tmp_path / "data", n_train=40, n_test=30, seed=0, max_number=30)
    flags = {"data": str(tmp_path / "data"), "val_size": size, "prompt_style": style}
    experiment = build_experiment(flags, PROFILES["cpu"])
    whole = styled(experiment, locate(experiment, ROOT), tmp_path / "run/data")
    validated = narrowed(experiment, whole, tmp_path / "run/data")
    rows = pd.read_parquet(validated.test)
    assert len(rows) == validated.n_test == (7 if size == 7 else 30)

    def asked(file: Path) -> list[str]:
        settings = Settings("m", None, str(file), "", (), style, None, 1, 0.0, 1.0, 64, 64, size, 0, "float32")
        return [problem.messages[0]["content"] for problem in load_problems(settings)]

    prompts = [row[0]["content"] for row in rows.prompt]
    # An evaluation of the whole file, and one that is a stage of the run.
    assert asked(whole.test) == asked(validated.test) == prompts


@pytest.mark.parametrize("size", [0, -2])
def test_a_size_that_says_nothing_is_refused(size: int) -> None:
    with pytest.raises(ExperimentError, match=f"--val_size {size}: must be at least 1, or -1 for all"):
        build_experiment({"val_size": size}, PROFILES["cpu"])
