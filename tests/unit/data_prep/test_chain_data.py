"""Generated chain data: right by an independent check, reproducible, disjoint; its command line and its flags."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.chain.files import prepare
from data_prep.chain.noise import chain_with_wrong_steps
from data_prep.chain.problem import RULES, Problem, Space, follow, generate, table_of
from data_prep.chain.rows import LONGER, problem_of, row_key, to_row
from data_prep.contamination import SAME_INPUTS, overlaps
from data_prep.schema import content_hash, read_rows, write_rows
from data_prep.split import write_distinct
from data_prep.task_commands import chain as main
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from tests import ROOT
from tests.helpers.chain_checks import check_row, rows_of, walk

FOUR = [Space("sum"), Space("table"), Space("parity")]


@pytest.mark.parametrize("space", [*FOUR, Space("sum", 7, 3), Space("parity", 16, 5), Space("sum", 2, 40)], ids=str)
def test_every_generated_row_is_right(space: Space) -> None:
    for row in rows_of(50 if space.size > 1_000 else 20, space, seed=3):
        check_row(row)


@given(st.integers(0, 10**6), st.sampled_from(["sum", "parity"]), st.sampled_from([2, 4, 8, 64]), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_rules_hold_for_any_size_and_depth(seed: int, rule: str, states: int, depth: int) -> None:
    problem = generate(1, seed, "train", Space(rule, states, depth))[0]  # type: ignore[arg-type]
    assert list(problem.solution) == walk(rule, states, problem.start, problem.inputs)
    assert problem_of(to_row(problem, 0, "train")["reward_model"]["ground_truth"]) == problem


@pytest.mark.parametrize(("rule", "states"), [("sum", (1, 2, 0)), ("parity", (1, 0, 2)), ("table", (3, 1, 2))])
def test_solutions_by_hand(rule: str, states: tuple[int, ...]) -> None:
    # Start 2, inputs 3, 1, 2. Sums modulo 4; 10 ^ 11 = 01, 01 ^ 01 = 00, 00 ^ 10 = 10; the table in chain_checks.
    assert Problem(Space(rule, 4, 3), 2, (3, 1, 2)).solution == states  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, 1, 17])
def test_every_input_of_a_table_permutes_the_states(number: int) -> None:
    assert all(sorted(moves) == list(range(9)) for moves in table_of(9, number))
    assert table_of(9, number) != table_of(9, number + 1)


def test_the_same_arguments_write_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "data_prep", "chain", "--n-train", "60", "--n-test", "20", "--rule", "table"]
        out = tmp_path / hash_seed
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*command, "--out", str(out)], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    prepare(tmp_path / "here", 60, 20, rule="table")
    for name in ("train.parquet", "test.parquet"):
        assert len({(tmp_path / folder / name).read_bytes() for folder in ("1", "2", "here")}) == 1
    # Pinned: a change of this value silently changes everybody's data, so it must be deliberate.
    assert (
        content_hash(tmp_path / "here" / "train.parquet")
        == "739384fd185d6c5e1b43e707233ed0b3aad6f4dba609d82d0bdee17281f3eac9"
    )


def test_splits_are_disjoint_and_do_not_depend_on_each_others_size(tmp_path: Path) -> None:
    small = prepare(tmp_path / "small", 50, 200, depth=4)
    large = prepare(tmp_path / "large", 700, 200, depth=4, test_depths=(6, 9))
    train, test = read_rows(large.train), read_rows(large.test)
    keys = [row_key(row) for row in (*train, *test)]
    assert len(set(keys)) == len(keys) == 700 + 3 * 200
    assert read_rows(small.train) == train[:50]
    assert read_rows(small.test) == test[:200]
    assert [len(row["hint"]) for row in test[::200]] == [4, 6, 9]
    assert {row["data_source"] for row in test[200:]} == {LONGER}
    for row in test[::37]:
        check_row(row)


def test_a_small_space_can_be_used_up_and_no_more() -> None:
    space = Space("sum", 2, 3)
    assert len({problem.key for problem in generate(16, 0, "train", space)}) == 16
    with pytest.raises(ValueError, match=r"asked for 17 .* there are 16"):
        generate(17, 0, "train", space)
    some = {problem.key for problem in generate(6, 1, "test", space)}
    assert some.isdisjoint(problem.key for problem in generate(10, 0, "train", space, some))


@pytest.mark.parametrize(
    "options",
    [{"rule": "product"}, {"states": 1}, {"states": 101}, {"rule": "parity", "states": 6}, {"depth": 0}, {"table": 1}],
    ids=str,
)
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=[*options][-1]):
        Space(**options)  # type: ignore[arg-type]


def test_the_gate_finds_shared_problems_and_no_others(tmp_path: Path) -> None:
    """Another start with inputs that lead through the same states is another problem with the same solution."""
    first, twin = Problem(Space(), 0, (1,) * 10), Problem(Space(), 1, (0,) + (1,) * 9)
    assert first.solution == twin.solution
    rows = rows_of(5, Space())
    write_distinct(tmp_path, [*rows, to_row(first, 5, "train")], [to_row(twin, 0, "test")], row_key, "problem")
    assert overlaps(tmp_path / "train.parquet", [tmp_path / "test.parquet"]).matches == ()
    changed = {**rows[3], "prompt": [{"role": "user", "content": "the same in other words"}]}
    write_rows(tmp_path / "other.parquet", [changed])
    (match,) = overlaps(tmp_path / "train.parquet", [tmp_path / "other.parquet"]).matches
    assert (match.train_rows, match.reason) == ((3,), SAME_INPUTS)


def test_wrong_steps_go_on_from_the_wrong_state() -> None:
    # sum: 2 +3 -> 1, missed by 2: 3; +1 -> 0; +2 -> 2, missed by 1: 3
    assert follow(Space("sum", 4, 3), 2, (3, 1, 2), (2, 0, 1)) == (3, 0, 3)
    assert follow(Space("sum", 4, 3), 2, (3, 1, 2), (0, 0, 0)) == (1, 2, 0)


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.sampled_from(RULES), st.randoms())
def test_exactly_the_steps_asked_for_are_wrong(misses: list[bool], rule: str, draw: object) -> None:
    row = rows_of(1, Space(rule, 4, 6))[0]  # type: ignore[arg-type]
    hint, answer = chain_with_wrong_steps(row, misses, draw)  # type: ignore[arg-type]
    truth = row["reward_model"]["ground_truth"]
    before = truth["start"]
    for line, move, miss in zip(hint, truth["inputs"], misses, strict=True):
        state = int(line.split(": ")[1])
        assert (state != walk(rule, 4, before, [move])[0]) == miss
        before = state
    assert answer.startswith("".join(hint) + " </think>\n<answer> (1) ")
    assert answer.split("<answer>")[1].count(")") == 6


def test_the_command_line_says_what_it_wrote_and_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), "--n-train", "30", "--n-test", "10", "--depth", "5"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'train.parquet'}: 30 rows, content sha256 ")
    assert main(["--out", str(tmp_path), "--states", "1"]) == 2
    assert "error: --states 1: must be from 2 to 100" in capsys.readouterr().err


def test_flags_of_the_generator_reach_the_experiment() -> None:
    flags = {"data": "chain", "depth": 5, "test_depths": [7, 9], "rule": "table", "n_train": 64}
    e = build_experiment({**flags, "model": "models/tiny-countdown"}, PROFILES["cpu"])
    assert e.data_options == {
        "n_train": 64,
        "n_test": 256,
        "rule": "table",
        "states": 4,
        "depth": 5,
        "test_depths": [7, 9],
        "table": 0,
    }
    easy = build_experiment({"sizes": [3, 4], "operators": "+-*"}, PROFILES["cpu"])
    assert (easy.data_options["sizes"], easy.data_options["operators"]) == ([3, 4], "+-*")
    assert build_experiment({}, PROFILES["cpu"]).data_options == PROFILES["cpu"].data_options["countdown"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"data": "countdown", "depth": 5}, "--depth: has no effect on --data countdown; it is an option of chain"),
        ({"data": "chain", "sizes": [3]}, "--sizes: has no effect on --data chain"),
        ({"data": "math", "n_train": 5}, "--n_train: has no effect on --data math"),
        ({"data": "chain", "depth": 2}, "asked for 4352 problems, but of depth 2 with 4 states there are 64"),
        ({"data": "chain", "test_depths": [10]}, "test_depths must be different numbers other than depth 10"),
        ({"data": "chain", "rule": "product"}, "--rule product: must be one of sum, table, parity"),
        ({"data": "countdown", "sizes": [9]}, "sizes must be different numbers from 2 to 6"),
        ({"data": "kk_logic", "people": [1]}, "people must be different numbers from 2 to"),
    ],
    ids=str,
)
def test_flags_that_no_problem_can_have_are_refused_before_the_start(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=message.replace("(", r"\(")):
        build_experiment(flags, PROFILES["cpu"])
