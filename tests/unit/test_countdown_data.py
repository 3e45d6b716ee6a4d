"""Countdown data: solvable, reproducible, disjoint, like the published data, and imported without silent losses."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from fractions import Fraction
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from data_prep.countdown import Space, generate, prepare, row_key, to_row, write_split
from data_prep.countdown_cli import main
from data_prep.countdown_import import (
    LeftOut,
    convert_number_lists,
    load_number_lists,
    load_uft,
    prepare_from_number_lists,
    prepare_from_uft,
    solve_problem,
)
from data_prep.countdown_profile import comparison, profile
from data_prep.countdown_solver import exact_solution, expression, first_solution, reachable_values, step_lines
from data_prep.schema import Row, SchemaError, content_hash, read_rows
from reward_fns import compute_score
from reward_fns.expression import read_expression

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT.parent / "shared" / "reference_data" / "countdown"


def reference(split: str) -> Path:
    path = REFERENCE / f"{split}.parquet"
    if not path.exists():
        pytest.skip(f"the published countdown data is not at {path}")
    return path


@cache
def published(split: str) -> list[Row]:
    return read_rows(reference(split))


def check_row(row: Row, positive: bool = True) -> None:
    """Checks a row without the generator: the reward accepts it and its lines are true and use what is there."""
    truth = row["reward_model"]["ground_truth"]
    result = compute_score("countdown", row["answer"], truth)
    assert (result["score"], result["reward_error"]) == (1.0, 0.0), row["answer"]
    at_hand = sorted(Fraction(number) for number in truth["numbers"])
    *lines, last = row["hint"]
    assert len(lines) == len(truth["numbers"]) - 1
    for line in lines:
        left, right = line.removesuffix("\n").split(" = ")
        calculation, stated = read_expression(left), read_expression(right)
        assert calculation is not None
        assert stated is not None
        value = stated.value()
        assert value is not None
        assert calculation.value() == value, line
        if positive:
            assert value > 0
            assert value.denominator == 1
        else:
            assert value >= 0
        # Take the two operands off the table, put the result on it.
        for operand in split_operands(left):
            assert operand in at_hand, f"{operand} of {line!r} is not at hand: {at_hand}"
            at_hand.remove(operand)
        at_hand.append(value)
    assert at_hand == [truth["target"]]
    final = last.removeprefix("Therefore, the final equation is ")
    assert row["answer"] == "".join(row["hint"]) + f" </think>\n<answer> {final} </answer>"
    prompt = row["prompt"][0]["content"]
    assert f"Using the numbers {truth['numbers']}, create an equation that equals {truth['target']}." in prompt
    assert prompt.endswith("\n<think> ")


def split_operands(calculation: str) -> list[Fraction]:
    for operator in (" + ", " - ", " * ", " / "):
        if operator in calculation:
            return [Fraction(side.strip("()")) for side in calculation.split(operator)]
    raise AssertionError(f"no operator in {calculation!r}")


def rows_of(n: int, seed: int = 0, split: str = "train", space: Space | None = None) -> list[Row]:
    return [to_row(problem, index, split) for index, problem in enumerate(generate(n, seed, split, space))]


# --- generating ----------------------------------------------------------------------------------------------------


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
    space = Space(tuple(sizes), max_number, targets, operators)
    for row in rows_of(3, seed, space=space):
        check_row(row)
        truth = row["reward_model"]["ground_truth"]
        assert len(truth["numbers"]) in sizes
        assert all(1 <= number <= max_number for number in truth["numbers"])
        assert targets[0] <= truth["target"] <= targets[1]
        assert {line.split()[1] for line in row["hint"][:-1]} <= set(operators)


def test_the_same_arguments_write_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "data_prep.countdown", "--n-train", "60", "--n-test", "20", "--seed", "5"]
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
    assert large.train_hash == content_hash(large.train)


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
        write_split(tmp_path, rows, [])
    with pytest.raises(SchemaError, match=r"test\.parquet, row 1, .*same problem as .*train\.parquet, row 2"):
        write_split(tmp_path, rows, [rows_of(1, seed=9)[0], rows[2]])
    assert list(tmp_path.iterdir()) == []


# --- solving -------------------------------------------------------------------------------------------------------


def brute_force(numbers: list[Fraction]) -> set[Fraction]:
    """All values over the rationals, negative ones included: every pair, every operator, every order."""
    if len(numbers) == 1:
        return set(numbers)
    values: set[Fraction] = set()
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            if i != j:
                rest = [number for k, number in enumerate(numbers) if k not in (i, j)]
                made = [a + b, a - b, a * b] + ([a / b] if b else [])
                for value in made:
                    values |= brute_force([value, *rest])
    return values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=3))
def test_the_exact_solver_solves_exactly_what_is_solvable(numbers: list[int]) -> None:
    reachable = {int(v) for v in brute_force([Fraction(n) for n in numbers]) if v.denominator == 1 and v >= 0}
    probed = sorted(reachable)[:15] + [target for target in range(12) if target not in reachable]
    for target in probed:
        solution = exact_solution(numbers, target)
        assert (solution is not None) == (target in reachable)
        if solution is not None:
            result = compute_score(
                "countdown", f"<answer>{expression(solution)}</answer>", {"numbers": numbers, "target": target}
            )
            assert result["score"] == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=2, max_size=4), st.integers(1, 100), st.sampled_from(["+-*/", "+-", "*/"]))
def test_whole_number_solutions_are_found_whenever_there_are_any(
    numbers: list[int], target: int, operators: str
) -> None:
    def values(left: list[int]) -> set[int]:
        if len(left) == 1:
            return set(left)
        found: set[int] = set()
        for i, a in enumerate(left):
            for j, b in enumerate(left):
                if i == j:
                    continue
                rest = [number for k, number in enumerate(left) if k not in (i, j)]
                made = {"+": a + b, "*": a * b, "-": a - b, "/": a // b if a % b == 0 else 0}
                for operator in operators:
                    if made[operator] > 0:
                        found |= values([made[operator], *rest])
        return found

    solution = first_solution(numbers, reachable_values(numbers, operators), target, operators)
    assert (solution is not None) == (target in values(numbers))


def test_the_first_solution_is_the_one_the_published_data_shows() -> None:
    # the first permutation with a solution, fewest numbers on the left
    problem = solve_problem([44, 19, 35], 98)
    assert problem is not None
    assert expression(problem.solution) == "44 + (19 + 35)"
    assert step_lines(problem.solution) == ["19 + 35 = 54\n", "44 + 54 = 98\n"]


def test_problems_that_need_fractions_or_zero_get_readable_lines() -> None:
    for numbers, target in (([3, 3, 8, 8], 24), ([5, 5], 0), ([2, 2, 3, 5], 5)):
        problem = solve_problem(numbers, target)
        assert problem is not None
        check_row(to_row(problem, 0, "train"), positive=False)
    problem = solve_problem([3, 3, 8, 8], 24)
    assert problem is not None
    assert step_lines(problem.solution) == ["8 / 3 = (8/3)\n", "3 - (8/3) = (1/3)\n", "8 / (1/3) = 24\n"]
    assert solve_problem([1, 1, 1], 97) is None


# --- beside the published data -------------------------------------------------------------------------------------


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
    for name in {*ours, *theirs} - {"rows with a zero on the way"}:
        # four standard errors of a share of some 2,000 rows, and a little for what differs on purpose
        error = 4 * math.sqrt(max(theirs.get(name, 0.0), 0.01) / 2_000) + 0.01
        assert abs(ours.get(name, 0.0) - theirs.get(name, 0.0)) < error, comparison(ours, theirs)


# --- importing -----------------------------------------------------------------------------------------------------


def test_the_uft_files_load_whole_or_without_their_repetitions(tmp_path: Path) -> None:
    whole = load_uft(reference("train"))
    assert (len(whole.rows), whole.left_out) == (10_240, ())
    prepared, from_train, from_test = prepare_from_uft(REFERENCE, tmp_path)
    assert (prepared.n_train, prepared.n_test) == (10_213, 1_024)
    assert from_test == ()
    assert [out.row for out in from_train if out.reason == "is in the excluded set"] == [1324, 2030, 2038, 5860, 8764]
    assert LeftOut(2875, "duplicate of row 2769") in from_train
    assert len(from_train) == 27


def test_uft_rows_are_checked_and_repetitions_reported(tmp_path: Path) -> None:
    rows = rows_of(3)
    path = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, rows[1], rows[0]]), path)
    assert load_uft(path).rows == (*rows, rows[1], rows[0])
    loaded = load_uft(path, drop_duplicates=True, exclude={row_key(rows[2])})
    assert loaded.rows == (rows[0], rows[1])
    assert loaded.left_out == (
        LeftOut(2, "is in the excluded set"),
        LeftOut(3, "duplicate of row 1"),
        LeftOut(4, "duplicate of row 0"),
    )
    pq.write_table(pa.Table.from_pylist([rows[0], {**rows[1], "hint": ["other"]}]), path)
    with pytest.raises(SchemaError, match=r"train\.parquet, row 1, column answer"):
        load_uft(path)


def number_lists(path: Path, items: list[tuple[list[int], int]]) -> str:
    table = pa.table({"target": [target for _, target in items], "nums": [nums for nums, _ in items]})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return str(path)


ITEMS = [([44, 19, 35], 98), ([3, 3, 8, 8], 24), ([1, 1, 1], 97), ([35, 44, 19], 98), ([5], 5), ([63, 95, 96], 64)]


def test_number_lists_get_solutions_and_every_loss_is_named() -> None:
    items = [{"nums": nums, "target": target} for nums, target in ITEMS]
    imported = convert_number_lists(enumerate(items), "train", limit=10, exclude={((63, 95, 96), 64)})
    assert [row["reward_model"]["ground_truth"]["target"] for row in imported.rows] == [98, 24]
    for row in imported.rows:
        check_row(row, positive=False)
    assert imported.left_out == (
        LeftOut(2, "unsolvable: nums [1, 1, 1], target 97"),
        LeftOut(3, "duplicate of row 0"),
        LeftOut(4, "not a problem: nums [5], target 5"),
        LeftOut(5, "is in the excluded set"),
    )
    assert len(convert_number_lists(enumerate(items), "train", limit=1).rows) == 1


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_local_copy_of_the_hub_dataset_becomes_two_disjoint_files(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    draw = random.Random(0)
    items = ITEMS + [([draw.randint(1, 20) for _ in range(4)], draw.randint(10, 40)) for _ in range(60)]
    path = number_lists(tmp_path / "hub" / "train.parquet", items)
    source = path if form == "file" else str(tmp_path / "hub")
    assert load_number_lists(source)[0] == {"nums": [44, 19, 35], "target": 98}
    prepared, left_out = prepare_from_number_lists(tmp_path / "out", 20, 10, seed=3, source=source)
    rows = read_rows(prepared.train) + read_rows(prepared.test)
    assert len({row_key(row) for row in rows}) == 30
    originals = {(tuple(nums), target) for nums, target in items}
    for row in rows:
        check_row(row, positive=False)
        truth = row["reward_model"]["ground_truth"]
        assert (tuple(truth["numbers"]), truth["target"]) in originals
    for out in left_out:
        assert out.reason.startswith(("unsolvable", "duplicate", "not a problem"))
        if out.reason.startswith("unsolvable"):
            assert out.reason == f"unsolvable: nums {items[out.row][0]}, target {items[out.row][1]}"
    again, _ = prepare_from_number_lists(tmp_path / "again", 25, 10, seed=3, source=source)
    assert again.test.read_bytes() == prepared.test.read_bytes()
    with pytest.raises(ValueError, match=r"66 rows hold only \d+ problems for train, asked for 500"):
        prepare_from_number_lists(tmp_path / "out", 500, 10, source=source)


def test_a_dataset_without_the_columns_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"numbers": [[1, 2]], "target": [3]}), path)
    with pytest.raises(ValueError, match=r"x\.parquet: lacks the columns nums; it has numbers, target"):
        load_number_lists(str(path))


# --- command line --------------------------------------------------------------------------------------------------


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
    assert "share in %" in capsys.readouterr().out


def test_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--sizes", "9"]) == 2
    assert "error: sizes must be different numbers from 2 to 6, got (9,)" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--from-uft", str(tmp_path)]) == 2
    assert "test.parquet: no such file" in capsys.readouterr().err
