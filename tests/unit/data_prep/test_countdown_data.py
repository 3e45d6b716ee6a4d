"""Generated countdown data: right, reproducible, disjoint, like the published data; and its command line."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from data_prep.countdown.generate import Space, generate, prepare, row_key, to_row
from data_prep.countdown.profile import profile
from data_prep.countdown.published import (
    solve_problem,
)
from data_prep.imported import comparison
from data_prep.schema import SchemaError, content_hash, read_rows
from data_prep.split import write_distinct
from data_prep.task_commands import countdown as main
from tests import ROOT
from tests.helpers.countdown_checks import check_row, published, rows_of


def test_every_generated_row_is_right() -> None:
    for row in rows_of(1_500, seed=3):
        check_row(row)


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(2, 6), min_size=1, max_size=3, unique=True),
    st.sampled_from([20, 99, 150]),
    st.sampled_from([(10, 100), (15, 40), (50, 200)]),
    st.sampled_from(["+-*/", "+-", "-+*"]),
)
def test_options_are_kept(
    seed: int, sizes: list[int], max_number: int, targets: tuple[int, int], operators: str
) -> None:
    # Without products, few small numbers do not reach large targets: such a space is refused, in the next test.
    assume("*" in operators or max_number * min(sizes) >= targets[1] / 2)
    space = Space(tuple(sizes), max_number, targets, operators)
    for row in rows_of(3, seed, space=space):
        check_row(row)
        truth = row["reward_model"]["ground_truth"]
        assert len(truth["numbers"]) in sizes
        assert all(1 <= number <= max_number for number in truth["numbers"])
        assert targets[0] <= truth["target"] <= targets[1]
        assert {line.split()[1] for line in row["hint"][:-1]} <= set(operators)


def test_a_space_whose_targets_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found only 0 of 3 countdown problems.*widen"):
        rows_of(3, seed=208, space=Space((2,), 20, (50, 200), "+-"))


def test_the_same_arguments_write_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "data_prep", "countdown", "--n-train", "60", "--n-test", "20", "--seed", "5"]
        out = tmp_path / hash_seed
        subprocess.run(
            [*command, "--out", str(out)],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
    prepare(tmp_path / "here", 60, 20, seed=5)
    for name in ("train.parquet", "test.parquet"):
        contents = {(tmp_path / folder / name).read_bytes() for folder in ("1", "2", "here")}
        assert len(contents) == 1
    # Pinned: a change of this value silently changes everybody's data, so it must be deliberate.
    assert (
        content_hash(tmp_path / "here" / "train.parquet")
        == "fa613f4ad0b39b26f0d753f20db62bf374d48a7819ba7df8d5a620dd4fb749e0"
    )


def test_splits_are_disjoint_without_duplicates_and_do_not_depend_on_each_others_size(tmp_path: Path) -> None:
    small = prepare(tmp_path / "small", 100, 200, seed=1, sizes=(3,), max_number=20)
    large = prepare(tmp_path / "large", 1_500, 200, seed=1, sizes=(3,), max_number=20)
    train, test = read_rows(large.train), read_rows(large.test)
    keys = [row_key(row) for row in (*train, *test)]
    assert len(set(keys)) == len(keys) == 1_700
    assert small.test.read_bytes() == large.test.read_bytes()
    assert read_rows(small.train) == train[:100]
    assert [row["extra_info"] for row in train[:2]] == [{"index": 0, "split": "train"}, {"index": 1, "split": "train"}]
    assert (large.n_train, large.n_test) == (1_500, 200)
    assert content_hash(large.train) in str(large)


def test_excluded_problems_stay_out(tmp_path: Path) -> None:
    options = {"n_train": 50, "n_test": 50, "sizes": (2,), "max_number": 30}
    first = prepare(tmp_path / "a", seed=1, **options)  # type: ignore[arg-type]
    taken = {row_key(row) for path in (first.train, first.test) for row in read_rows(path)}
    second = prepare(tmp_path / "b", seed=1, exclude=taken, **options)  # type: ignore[arg-type]
    assert taken.isdisjoint(row_key(row) for path in (second.train, second.test) for row in read_rows(path))


def test_another_seed_or_split_gives_other_problems() -> None:
    assert generate(20, 0, "train") != generate(20, 1, "train")
    assert generate(20, 0, "train") != generate(20, 0, "test")


@pytest.mark.parametrize(
    ("n", "space", "message"),
    [
        (10_000, Space(sizes=(2,), max_number=3, targets=(10, 12)), "asked for 10000 .* at most 18"),
        (60, Space(sizes=(2,), max_number=5, targets=(10, 100)), "found only 7 of 60 .*widen sizes"),
    ],
)
def test_a_space_that_is_too_small_is_an_error(n: int, space: Space, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(n, 0, "train", space)


def test_a_small_space_can_be_used_up() -> None:
    # 2*5, 3*4, 3*5, 4*4, 4*5, 5*5 and 5+5 are all there is
    problems = generate(7, 0, "train", Space(sizes=(2,), max_number=5, targets=(10, 100)))
    assert {problem.target for problem in problems} == {10, 12, 15, 16, 20, 25}


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": ()},
        {"sizes": (1,)},
        {"sizes": (7,)},
        {"sizes": (3, 3)},
        {"max_number": 0},
        {"targets": (0, 10)},
        {"targets": (20, 10)},
        {"operators": ""},
        {"operators": "+^"},
    ],
)
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Space(**options)  # type: ignore[arg-type]


def test_empty_and_overlapping_splits_are_refused(tmp_path: Path) -> None:
    rows = rows_of(3)
    with pytest.raises(SchemaError, match=r"test\.parquet would have no rows"):
        write_distinct(tmp_path, rows, [], row_key, "problem")
    with pytest.raises(SchemaError, match=r"test\.parquet, row 1, .*same problem as .*train\.parquet, row 2"):
        write_distinct(tmp_path, rows, [rows_of(1, seed=9)[0], rows[2]], row_key, "problem")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_published_rows_are_reproduced_but_for_those_with_a_zero_on_the_way(split: str) -> None:
    different = 0
    for row in published(split):
        numbers, target = row["reward_model"]["ground_truth"]["numbers"], row["reward_model"]["ground_truth"]["target"]
        problem = solve_problem(numbers, target)
        assert problem is not None
        ours = to_row(problem, row["extra_info"]["index"], split)
        if ours != row:
            different += 1
            assert any(line.endswith(" = 0\n") for line in row["hint"]), f"{ours['hint']} instead of {row['hint']}"
    assert different == {"train": 78, "test": 15}[split]


def test_generated_data_looks_like_the_published_data() -> None:
    ours, theirs = profile(rows_of(4_000)), profile(published("train"))
    for name in {*ours, *theirs} - {"share: rows with a zero on the way"}:
        # four standard errors of a share of some 2,000 rows, and a little for what differs on purpose
        error = 4 * math.sqrt(max(theirs.get(name, 0.0), 0.01) / 2_000) + 0.01
        assert abs(ours.get(name, 0.0) - theirs.get(name, 0.0)) < error, comparison(ours, theirs)


def test_the_command_line_writes_both_files_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--n-train", "30", "--n-test", "10", "--sizes", "3", "--seed", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'train.parquet'}: 30 rows, content sha256 ")
    train = str(tmp_path / "train.parquet")
    arguments = [
        "--out",
        str(tmp_path / "b"),
        "--n-train",
        "30",
        "--n-test",
        "10",
        "--exclude",
        train,
        "--compare",
        train,
    ]
    assert main(arguments) == 0
    assert "| share: size 3 |" in capsys.readouterr().out


def test_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--sizes", "9"]) == 2
    assert "error: sizes must be different numbers from 2 to 6, got (9,)" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--from-uft", str(tmp_path)]) == 2
    assert "test.parquet: no such file" in capsys.readouterr().err
