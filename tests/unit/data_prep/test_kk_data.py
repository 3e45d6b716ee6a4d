"""Generated knights-and-knaves data: right, reproducible, disjoint, like the published data; and its command line."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from data_prep.imported import comparison
from data_prep.kk_logic.generate import EXAMPLE, Problem, Space, generate, prepare, row_key, to_row
from data_prep.kk_logic.profile import profile
from data_prep.kk_logic.puzzle import AFFIRM, Claim, Leaf
from data_prep.prompt_styles import read_completion
from data_prep.schema import Row, SchemaError, content_hash, read_rows
from data_prep.split import write_distinct
from data_prep.task_commands import kk_logic as main
from tests import ROOT
from tests.helpers.kk_logic_checks import check_row, published


def rows_of(n: int, seed: int = 0, split: str = "train", people: tuple[int, ...] = (3, 4, 5, 6, 7)) -> list[Row]:
    problems = generate(n, seed, split, Space(people))
    return [to_row(problem, index, split) for index, problem in enumerate(problems)]


def test_every_generated_row_is_right() -> None:
    for row in [*rows_of(400, seed=3), *rows_of(60, people=(2,)), *rows_of(60, people=(8,))]:
        check_row(row)


@pytest.mark.parametrize("part", ["solution", "statements", "hint", "question"])
def test_the_checks_themselves_fail_on_a_wrong_row(part: str) -> None:
    row = rows_of(1)[0]
    check_row(row)
    truth = row["reward_model"]["ground_truth"]
    if part == "solution":
        truth["solution"][0] = not truth["solution"][0]
    elif part == "statements":
        truth["statements"] = truth["statements"].replace("lying", "telling-truth")
    elif part == "hint":
        row["hint"] = [step.replace("cannot be a knight", "cannot be a knave") for step in row["hint"]]
    else:
        message = row["prompt"][0]
        message["content"] = message["content"].replace(" is not a ", " is a ")
    with pytest.raises(AssertionError):
        check_row(row)


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(0, 10**6), st.lists(st.integers(3, 8), min_size=1, max_size=3, unique=True))
def test_the_numbers_of_people_are_kept(seed: int, people: list[int]) -> None:
    for row in rows_of(4, seed, people=tuple(people)):
        check_row(row)
        assert len(row["reward_model"]["ground_truth"]["names"]) in people


def test_the_same_arguments_write_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "data_prep", "kk_logic", "--n-train", "60", "--n-test", "20", "--seed", "5"]
        subprocess.run(
            [*command, "--out", str(tmp_path / hash_seed)],
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
        == "0484c64dd3d4f5156792e06a07276efecfc50d93211fd2dce7778efb485220b2"
    )


def test_splits_are_disjoint_without_duplicates_and_do_not_depend_on_each_others_size(tmp_path: Path) -> None:
    small = prepare(tmp_path / "small", 100, 300, seed=1, people=(3,))
    large = prepare(tmp_path / "large", 1_000, 300, seed=1, people=(3,))
    train, test = read_rows(large.train), read_rows(large.test)
    keys = [row_key(row) for row in (*train, *test)]
    assert len(set(keys)) == len(keys) == 1_300
    assert small.test.read_bytes() == large.test.read_bytes()
    assert read_rows(small.train) == train[:100]
    assert [row["extra_info"] for row in train[:2]] == [{"index": 0, "split": "train"}, {"index": 1, "split": "train"}]
    assert (large.n_train, large.n_test) == (1_000, 300)
    assert content_hash(large.train) in str(large)


def test_excluded_puzzles_stay_out(tmp_path: Path) -> None:
    first = prepare(tmp_path / "a", 25, 10, seed=1, people=(2,))
    taken = {row_key(row) for path in (first.train, first.test) for row in read_rows(path)}
    second = prepare(tmp_path / "b", 25, 10, seed=1, people=(2,), exclude=taken)
    assert taken.isdisjoint(row_key(row) for path in (second.train, second.test) for row in read_rows(path))


def test_another_seed_or_split_gives_other_puzzles() -> None:
    assert generate(20, 0, "train") != generate(20, 1, "train")
    assert generate(20, 0, "train") != generate(20, 0, "test")


def test_a_used_up_number_of_people_leaves_its_part_to_the_others() -> None:
    sizes = [len(problem.names) for problem in generate(400, 0, "train", Space((2, 5)))]
    assert sizes.count(2) == 77  # all that there are
    assert sizes[:100].count(2) > 30


def test_too_few_puzzles_are_an_error_that_says_how_many_there_are() -> None:
    with pytest.raises(ValueError, match=r"train: .*found only 77 of 78 .* with 2 people .*ask for fewer"):
        generate(78, 0, "train", Space((2,)))


@pytest.mark.parametrize("people", [(), (1,), (9,), (3, 3)])
def test_impossible_numbers_of_people_are_refused(people: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="people must be different numbers from 2 to 8"):
        Space(people)


def test_empty_and_overlapping_splits_are_refused(tmp_path: Path) -> None:
    rows = rows_of(3)
    with pytest.raises(SchemaError, match=r"test\.parquet would have no rows"):
        write_distinct(tmp_path, rows, [], row_key, "puzzle")
    with pytest.raises(SchemaError, match=r"test\.parquet, row 1, .*same puzzle as .*train\.parquet, row 2"):
        write_distinct(tmp_path, rows, [rows_of(1, seed=9)[0], rows[2]], row_key, "puzzle")
    assert list(tmp_path.iterdir()) == []


def test_two_people_are_listed_without_a_comma() -> None:
    claims = (Claim(AFFIRM, (Leaf(1, False),)), Claim(AFFIRM, (Leaf(0, False),)))
    row = to_row(Problem(("Zoey", "Owen"), claims, (0, 0), (True, False)), 0, "train")
    question = read_completion(row["prompt"][0]["content"])
    assert question is not None
    assert question.example == EXAMPLE
    assert 'You meet 2 inhabitants: Zoey and Owen. Zoey said, "Owen is a knave." Owen said, ' in question.text


def test_generated_data_looks_like_the_published_data() -> None:
    theirs = profile(published("train")[::2])
    ours = profile(rows_of(2_500))
    for name in {*ours, *theirs}:
        a, b = ours.get(name, 0.0), theirs.get(name, 0.0)
        if name.startswith("share"):
            # five standard errors of the difference of two shares of some 2,500 puzzles
            assert abs(a - b) < 5 * math.sqrt(2 * max(b, 0.01) / 2_500), comparison(ours, theirs)
        else:
            # means over some 500 puzzles; steps back scatter as widely as their mean
            assert abs(a - b) < 0.25 * b, f"{name}\n{comparison(ours, theirs)}"


def test_the_command_line_writes_both_files_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--n-train", "30", "--n-test", "10", "--people", "4", "--seed", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'train.parquet'}: 30 rows, content sha256 ")
    assert lines[2] == f"{tmp_path / 'train.parquet'}: 30 with 4 people"
    train = str(tmp_path / "train.parquet")
    arguments = ["--out", str(tmp_path / "b"), "--n-train", "30", "--n-test", "10", "--people", "4", "--seed", "2"]
    assert main([*arguments, "--exclude", train, "--compare", train]) == 0
    assert "| share of puzzles with 4 people | 100.0 % | 100.0 % |" in capsys.readouterr().out
    again = {row_key(row) for row in read_rows(tmp_path / "b" / "train.parquet")}
    assert again.isdisjoint(row_key(row) for row in read_rows(tmp_path / "train.parquet"))


def test_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--people", "9"]) == 2
    assert "error: people must be different numbers from 2 to 8, got (9,)" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--from-uft", str(tmp_path)]) == 2
    assert "test.parquet: no such file" in capsys.readouterr().err
