"""The contamination gate: questions in both train and evaluation data are found, other questions are not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.contamination import (
    SAME_NUMBERS,
    SAME_SOLUTION,
    SAME_STATEMENTS,
    SAME_TEXT,
    SAME_WORDS,
    ContaminationError,
    Report,
    describe,
    normalise,
    overlaps,
    question_key,
    raise_if_overlap,
)
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, build_row, read_rows, write_rows
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data"


def reference(name: str) -> Path:
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"the published data is not at {path}")
    return path


def row(question: str, target: str = "1", hint: tuple[str, ...] = (), truth: object = None) -> Row:
    return build_row(
        prompt=completion_prompt(Question(question, "12")),
        hint=hint,
        final_answer=target,
        data_source="math",
        ability="math",
        ground_truth={"target": target} if truth is None else truth,
        index=0,
        split="train",
    )


def compared(folder: Path, train: list[Row], test: list[Row]) -> Report:
    write_rows(folder / "train.parquet", train)
    write_rows(folder / "test.parquet", test)
    return overlaps(folder / "train.parquet", [folder / "test.parquet"])


def found(report: Report) -> list[tuple[int, tuple[int, ...], str]]:
    return [(match.row, match.train_rows, match.reason) for match in report.matches]


def test_the_published_countdown_files_share_five_problems_and_repeat_twenty_two() -> None:
    train, test = reference("countdown/train.parquet"), reference("countdown/test.parquet")
    report = overlaps(train, [test])
    assert {match.train_rows for match in report.matches} == {(1324,), (2030,), (2038,), (5860,), (8764,)}
    assert {match.reason for match in report.matches} == {SAME_NUMBERS}
    repeats = [repeat for repeat in report.repeats if repeat.file == train]
    assert len(repeats) == 22
    assert report.rows[train] - len(repeats) == 10_218
    assert (repeats[0].row, repeats[0].first) == (2875, 2769)
    assert report.same_files == ()


def test_the_published_logic_files_share_nothing() -> None:
    report = overlaps(reference("kk_logic/train.parquet"), [reference("kk_logic/test.parquet")])
    assert (report.matches, report.repeats, report.same_files) == ((), (), ())
    raise_if_overlap(report, allow=False)


def test_ninety_nine_problems_of_math_500_are_in_the_published_math_test() -> None:
    others = reference("others/test.parquet")
    report = overlaps(reference("math/test.parquet"), [others])
    sources = [item["data_source"] for item in read_rows(others)]
    assert sum(sources[match.row] == "math500" for match in report.matches) == 99


def test_a_file_given_as_both_is_recognised_and_so_is_a_copy_under_another_name(tmp_path: Path) -> None:
    others = reference("others/test.parquet")
    report = overlaps(others, [others])
    assert report.same_files == (others,)
    assert len(report.matches) == report.rows[others] == 4_927
    assert "holds exactly the rows of the train file" in describe(report)
    rows = [row("What is 1 + 1?"), row("What is 2 + 2?")]
    assert compared(tmp_path, rows, rows).same_files == (tmp_path / "test.parquet",)
    assert compared(tmp_path, rows, rows[:1]).same_files == ()


def test_ten_thousand_rows_against_five_thousand_take_seconds() -> None:
    train, others = reference("countdown/train.parquet"), reference("others/test.parquet")
    started = time.process_time()
    overlaps(train, [others])
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("What is 2 + 2?", "what is  2+2 ?"),
        ("Find $x$ if $x^2 = 4$.", "Find \\(x\\) if \\(x^{2} = 4\\)".replace("{2}", "2")),
        ("Compute $\\dfrac{1}{2}\\,+\\;3$.", "compute \\frac{1}{2} + 3"),
        ("$\\left(1, 2\\right)$ lies where?", "$(1,2)$ lies where"),
        ("Ann’s “old” house", "Ann's old house"),
        ("A ten-kilometre walk; how long?", "A ten kilometre walk, how long"),
        ("How much are 1,000 coins?", "How much are 1000 coins?"),
        ("How much are $1{,}000$ coins?", "How much are 1000 coins?"),
        ("ｗｉｄｅ ５", "wide 5"),
        ("What is 12 × 3?", "What is 12 * 3?"),
        ("What is 5 − 3?", "What is 5-3?"),
    ],
)
def test_spelling_makes_no_other_question(left: str, right: str, tmp_path: Path) -> None:
    assert normalise(left) == normalise(right)
    assert found(compared(tmp_path, [row("Another one"), row(left)], [row(right)])) == [(0, (1,), SAME_WORDS)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("What is 12/3?", "What is 123?"),
        ("What is 5 - 3?", "What is 53?"),
        ("What is 5 - 3?", "What is 5 + 3?"),
        ("What is 1.5 + 1?", "What is 15 + 1?"),
        ("What is 5! + 1?", "What is 5 + 1?"),
        ("What is n! for n = 3?", "What is n for n = 3?"),
        ("What is (1 + 2) * 3?", "What is 1 + 2 * 3?"),
        ("Is x < 3?", "Is x > 3?"),
        ("What is x^2?", "What is x2?"),
        ("What is a - b?", "What is ab?"),
    ],
)
def test_signs_of_mathematics_do(left: str, right: str) -> None:
    assert normalise(left) != normalise(right)


def test_countdown_problems_are_their_numbers_and_target_whatever_the_wording(tmp_path: Path) -> None:
    def problem(numbers: list[int], target: object, wording: str) -> Row:
        return row(wording, truth={"numbers": numbers, "target": target})

    train = [problem([44, 19, 35], 98, "Make 98"), problem([1, 2, 3], 6, "Make 6")]
    test = [
        problem([19, 35, 44], 98, "Reach it"),
        problem([1, 2, 3], 7, "Make 6"),
        problem([1, 2, 2, 3], 6, "Make 6"),
    ]
    assert found(compared(tmp_path, train, test)) == [(0, (0,), SAME_NUMBERS)]
    assert question_key(problem([2, 1], 3, "a")) == question_key(problem([1, 2], "3", "b"))


def test_logic_puzzles_are_their_people_and_statements(tmp_path: Path) -> None:
    def puzzle(names: list[str], statements: str) -> Row:
        return row("Who is who?", truth={"names": names, "statements": statements})

    train = [puzzle(["Ann", "Ben"], "(1,)"), puzzle(["Ann", "Ben"], "(2,)")]
    report = compared(tmp_path, train, [puzzle(["Ann", "Ben"], "(2,)"), puzzle(["Ann", "Cy"], "(2,)")])
    assert found(report) == [(0, (1,), SAME_TEXT)]
    other = row("Who tells the truth?", truth={"names": ["Ann", "Ben"], "statements": "(1,)"})
    assert found(compared(tmp_path, train, [other])) == [(0, (0,), SAME_STATEMENTS)]


def test_a_solution_under_another_question_is_found_but_short_ones_prove_nothing(tmp_path: Path) -> None:
    steps = ("Three boxes of four pens hold 3 * 4 = 12 pens.\n", "With the pen on the table there are 12 + 1 = 13.")
    report = compared(tmp_path, [row("Old wording", "13", steps)], [row("New wording", "13", steps)])
    assert found(report) == [(0, (0,), SAME_SOLUTION)]
    assert found(compared(tmp_path, [row("One", "13", steps[:1])], [row("Two", "13", steps[:1])])) == []
    assert found(compared(tmp_path, [row("One", "13")], [row("Two", "13")])) == []
    assert found(compared(tmp_path, [row("One", "13", ("",))], [row("Two", "13", ("",))])) == []


def test_repetitions_inside_a_file_are_listed_but_are_no_overlap(tmp_path: Path) -> None:
    report = compared(tmp_path, [row("A b"), row("C"), row("a B?"), row("C")], [row("D")])
    assert [(repeat.row, repeat.first, repeat.reason) for repeat in report.repeats] == [
        (2, 0, SAME_WORDS),
        (3, 1, SAME_TEXT),
    ]
    assert "rows that repeat an earlier one of this file: 2" in describe(report)
    raise_if_overlap(report, allow=False)


def test_the_gate_names_rows_and_the_way_out(tmp_path: Path) -> None:
    rows = [row(f"Question {number}") for number in range(8)]
    report = compared(tmp_path, rows, rows[2:])
    with pytest.raises(ContaminationError, match="--allow_overlap") as raised:
        raise_if_overlap(report, allow=False)
    message = str(raised.value)
    assert "holds 6 questions of the evaluation data" in message
    assert f"row 0 = train row 2 ({SAME_TEXT}): Question 2" in message
    assert "... and 1 more" in message
    raise_if_overlap(report, allow=True)


def test_the_command_prints_the_report_and_tells_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(tmp_path, [row("A"), row("B")], [row("C"), row("b")])
    train, test = str(tmp_path / "train.parquet"), str(tmp_path / "test.parquet")
    assert main(["overlap", train, test]) == 1
    out = capsys.readouterr().out
    assert f"{test}: 1 of 2 rows in the train file" in out
    assert "row 1 = train row 1" in out
    write_rows(tmp_path / "other.parquet", [row("D")])
    assert main(["overlap", train, str(tmp_path / "other.parquet")]) == 0
    assert main(["overlap", train, str(tmp_path / "none.parquet")]) == 2
    assert "none.parquet: no such file" in capsys.readouterr().err


def test_files_that_are_no_data_are_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    write_rows(good, [row("A")])
    bad.write_text("hello")
    with pytest.raises(ValueError, match=r"bad\.parquet: not a readable parquet file"):
        overlaps(good, [bad])
