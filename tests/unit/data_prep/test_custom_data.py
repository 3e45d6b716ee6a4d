"""A user's own file becomes train and test files: what is understood as what, and which row goes where."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.contamination import question_text
from data_prep.faults import CustomDataError
from data_prep.problems.prepare import examine, prepare_file
from data_prep.prompt_styles import Question, read_completion
from data_prep.schema import Row, normalise_row, read_rows
from data_prep.split import Prepared
from reward_fns import compute_score
from tests import ROOT

EXAMPLE = ROOT / "examples" / "custom"
REFERENCE = ROOT.parent / "shared" / "reference_data"

Cells = Mapping[str, Any]


def jsonl(path: Path, rows: Sequence[Cells]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sums(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "question": f"What is {k} + 1?",
            "solution": f"One more than {k}.\nThat is {k + 1}.",
            "answer": k + 1,
        }
        for k in range(start, start + n)
    ]


def prepared(folder: Path, rows: Sequence[Cells], **options: Any) -> Prepared:
    return prepare_file(jsonl(folder / "mine.jsonl", rows), folder / "out", **{"test_share": 0.3, **options})


def only_row(folder: Path, cells: Cells, **options: Any) -> Row:
    """What `cells` become: the one training row beside a test file."""
    fits = {"countdown": {"numbers": [1, 2], "target": 3, "answer": "1 + 2"}}
    other = fits.get(str(options.get("reward")), {"question": "Another one?", "answer": 1})
    data = prepare_file(
        jsonl(folder / "mine.jsonl", [cells]),
        folder / "out",
        test_file=jsonl(folder / "test.jsonl", [other]),
        **options,
    )
    return read_rows(data.train)[0]


def questions(path: Path) -> list[str]:
    return [question_text(row["prompt"]) for row in read_rows(path)]


def test_the_example_becomes_two_files_whose_own_answers_are_right(tmp_path: Path) -> None:
    data = prepare_file(EXAMPLE / "questions.jsonl", tmp_path)
    understood = examine(EXAMPLE / "questions.jsonl", None)
    assert (understood.reward, understood.layout.kind, data.n_train + data.n_test) == ("math", "simple", 12)
    train, test = read_rows(data.train), read_rows(data.test)
    assert (len(train), len(test)) == (data.n_train, data.n_test)
    for split, rows in (("train", train), ("test", test)):
        for index, row in enumerate(rows):
            assert row["extra_info"] == {"index": index, "split": split}
            found = compute_score(row["data_source"], row["answer"], row["reward_model"]["ground_truth"])
            assert found["score"] == 1.0
            assert len(row["hint"]) > 1


def test_a_row_is_prompt_hint_and_answer(tmp_path: Path) -> None:
    cells = {"question": " What is 2 + 2? ", "solution": "Two and two.\nThat makes 4.", "answer": "4"}
    row = only_row(tmp_path, cells)
    assert read_completion(row["prompt"][0]["content"]) == Question("What is 2 + 2?", "12")
    assert row["hint"] == ["Two and two.\n", "That makes 4."]
    assert row["answer"] == "Two and two.\nThat makes 4. </think>\n<answer> 4 </answer>"
    assert row["reward_model"] == {"style": "rule", "ground_truth": {"target": "4"}}
    assert row["data_source"] == "math"


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (("problem", "reasoning", "target"), ("q", "s", "7")),
        (("prompt", "cot", "final_answer"), ("q", "s", "7")),
        (("Question", "Rationale", "ground_truth"), ("q", "s", "7")),
        (("instruction", "solution", "answer"), ("q", "s", "7")),
    ],
)
def test_columns_go_by_many_names(tmp_path: Path, names: tuple[str, ...], texts: tuple[str, ...]) -> None:
    row = only_row(tmp_path, dict(zip(names, texts, strict=True)))
    assert question_text(row["prompt"]) == "q"
    assert row["answer"] == "s </think>\n<answer> 7 </answer>"


def test_instruction_and_input_are_joined_and_extra_columns_do_not_matter(tmp_path: Path) -> None:
    cells = {
        "instruction": "Add.",
        "input": "2 and 2",
        "answer": 4,
        "id": 7,
        "data_source": "mine",
        "more": {"b": None},
    }
    assert question_text(only_row(tmp_path, cells)["prompt"]) == "Add.\n2 and 2"
    assert question_text(only_row(tmp_path, {**cells, "input": ""})["prompt"]) == "Add."


def test_a_prompt_that_is_already_wrapped_is_not_wrapped_again(tmp_path: Path) -> None:
    first = only_row(tmp_path, {"question": "What is 2 + 2?", "answer": 4})
    again = only_row(tmp_path, {"prompt": first["prompt"][0]["content"], "answer": 4})
    assert again == first


@pytest.mark.parametrize(
    "solution",
    [
        "Two and two. </think>\n<answer> 4 </answer>",
        "Two and two.</think><answer>4</answer>\n",
        "<think> Two and two. </think> <answer>4</answer>",
        "Two and two.\n<answer>4</answer>",
        "Two and two. </think>",
        "Two and two.\n#### 4",
    ],
)
def test_a_hint_never_holds_the_final_answer_in_its_tags(tmp_path: Path, solution: str) -> None:
    row = only_row(tmp_path, {"question": "What is 2 + 2?", "solution": solution, "answer": 4})
    assert "".join(row["hint"]) == "Two and two."
    assert row["answer"] == "Two and two. </think>\n<answer> 4 </answer>"


def test_a_worked_answer_ending_in_its_mark_is_split_into_steps_and_answer(tmp_path: Path) -> None:
    row = only_row(tmp_path, {"question": "What is 2 + 2?", "answer": "Two and two.\n#### 4"})
    assert row["hint"] == ["Two and two."]
    assert row["reward_model"]["ground_truth"] == {"target": "4"}


@pytest.mark.parametrize(
    ("value", "text"), [(4, "4"), (4.0, "4"), (0.5, "0.5"), (" 4 ", "4"), ("\\frac12", "\\frac12")]
)
def test_numbers_are_answers_as_written(tmp_path: Path, value: object, text: str) -> None:
    row = only_row(tmp_path, {"question": "q", "answer": value})
    assert row["reward_model"]["ground_truth"] == {"target": text}
    assert row["hint"] == []


def test_all_kinds_of_files_give_the_same_rows(tmp_path: Path) -> None:
    rows = [{"question": f'q, {k}\n"{k}"; é', "solution": f"Step.\nIt is {k}.", "answer": str(k)} for k in range(20)]
    jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "wrapped.json").write_text(json.dumps({"version": 1, "data": rows}))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name, delimiter in (("a.csv", ","), ("semicolons.csv", ";"), ("a.tsv", "\t")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=["question", "solution", "answer"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    with_bom = b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes()
    (tmp_path / "bom.csv").write_bytes(with_bom)
    windows = (tmp_path / "a.jsonl").read_bytes().replace(b"\n", b"\r\n\r\n")
    (tmp_path / "windows.jsonl").write_bytes(b"\xef\xbb\xbf" + windows)
    sources = [path for path in tmp_path.iterdir() if path.is_file()]
    written = []
    for source in sources:
        data = prepare_file(source, tmp_path / "out" / source.name)
        written.append((read_rows(data.train), read_rows(data.test)))
    assert len(sources) == 10
    assert all(pair == written[0] for pair in written)
    assert sorted(questions(data.train) + questions(data.test)) == sorted(row["question"] for row in rows)


def test_further_rows_move_no_others_between_the_splits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    small = prepared(tmp_path / "a", sums(60))
    large = prepared(tmp_path / "b", [*sums(300, start=60), *reversed(sums(60))])
    assert set(questions(small.train)) <= set(questions(large.train))
    assert set(questions(small.test)) <= set(questions(large.test))
    assert 0.2 < large.n_test / 360 < 0.4
    other = prepared(tmp_path / "b", sums(60), seed=1)
    assert set(questions(other.test)) != set(questions(small.test))


def test_a_repeated_question_never_lands_in_both_splits(tmp_path: Path) -> None:
    rows = [*sums(50), *({**row, "question": row["question"].upper().replace(" ", "  ")} for row in sums(50))]
    data = prepared(tmp_path, rows)
    train, test = ({question.split()[2] for question in questions(path)} for path in (data.train, data.test))
    assert data.n_train + data.n_test == 100
    assert train.isdisjoint(test)
    assert len(train | test) == 50


def test_a_test_file_takes_the_place_of_the_draw_and_must_not_share_questions(tmp_path: Path) -> None:
    test_file = jsonl(tmp_path / "test.jsonl", sums(3, start=100))
    data = prepared(tmp_path, sums(5), test_file=test_file)
    assert (data.n_train, data.n_test) == (5, 3)
    assert questions(data.test) == [row["question"] for row in sums(3, start=100)]
    with pytest.raises(CustomDataError, match=r"row 2: this question is also in .*test\.jsonl \(row 3 there\)"):
        prepared(tmp_path, [*sums(1), *sums(1, start=102)], test_file=test_file)


def test_a_split_without_rows_is_an_error_that_names_a_share_which_works(tmp_path: Path) -> None:
    for share in (0.001, 0.999):
        with pytest.raises(CustomDataError, match="none falls into the") as raised:
            prepared(tmp_path, sums(8), test_share=share)
        better = float(str(raised.value).split("take --test-share ")[1].split(",")[0])
        data = prepared(tmp_path, sums(8), test_share=better)
        assert 1 in (data.n_train, data.n_test)
    with pytest.raises(CustomDataError, match="must be between 0 and 1"):
        prepared(tmp_path, sums(8), test_share=1.5)


def test_countdown_rows_bring_numbers_target_and_answer(tmp_path: Path) -> None:
    cells = {
        "numbers": [44, 19, 35],
        "target": 98,
        "answer": "44 + (19 + 35)",
        "solution": "19 + 35 = 54\n44 + 54 = 98",
    }
    row = only_row(tmp_path, cells, reward="countdown")
    assert row["reward_model"]["ground_truth"] == {"numbers": [44, 19, 35], "target": 98}
    assert "Using the numbers [44, 19, 35], create an equation that equals 98." in row["prompt"][0]["content"]
    assert row["data_source"] == "countdown"
    assert compute_score("countdown", row["answer"], row["reward_model"]["ground_truth"])["score"] == 1.0
    assert only_row(tmp_path, {**cells, "numbers": "44 19 35", "target": "98"}, reward="countdown") == row


def test_logic_rows_bring_their_ground_truth(tmp_path: Path) -> None:
    truth = {"names": ["Zoey", "Ava"], "solution": [True, False]}
    rows = [{"question": f"Puzzle {k}?", "solution": "Assume.", "ground_truth": truth} for k in range(20)]
    data = prepared(tmp_path, rows, reward="kk_logic")
    for row in read_rows(data.train):
        assert row["answer"].endswith("<answer> (1) Zoey is a knight\n(2) Ava is a knave </answer>")
        assert compute_score("kk_logic", row["answer"], row["reward_model"]["ground_truth"])["score"] == 1.0


def test_a_reward_of_ones_own_takes_any_text_as_answer(tmp_path: Path) -> None:
    rows = [{"question": f"Write {k} lines.", "answer": "x" * 3_000 + " {{{ "} for k in range(20)]
    with pytest.raises(CustomDataError, match="the math reward cannot use this"):
        prepared(tmp_path, rows)
    data = prepared(tmp_path, rows, reward=f"{EXAMPLE / 'reward.py'}:reward")
    assert {row["data_source"] for row in read_rows(data.train)} == {"custom"}
    assert read_rows(data.train)[0]["reward_model"]["ground_truth"] == {"target": "x" * 3_000 + " {{{"}


@pytest.mark.parametrize("name", ["countdown/test", "kk_logic/test", "math/test", "others/test"])
def test_the_published_files_pass_and_keep_what_they_say(tmp_path: Path, name: str) -> None:
    path = REFERENCE / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"the published data is not at {path}")
    table = pq.read_table(path).slice(0, 400)
    pq.write_table(table, tmp_path / "part.parquet")
    data = prepare_file(tmp_path / "part.parquet", tmp_path / "out")
    understood = examine(tmp_path / "part.parquet", None)
    assert (understood.layout.kind, understood.reward, data.n_train + data.n_test) == ("schema", None, 400)
    original = [normalise_row(row, "") for row in table.to_pylist()]
    said = [{**row, "extra_info": None} for row in original]
    assert all({**row, "extra_info": None} in said for row in read_rows(data.train))
    data = prepare_file(tmp_path / "part.parquet", tmp_path / "out", reward=f"{EXAMPLE / 'reward.py'}:reward")
    assert {row["data_source"] for row in read_rows(data.test)} == {"custom"}


def test_nothing_is_written_where_the_input_lies_or_rows_are_wrong(tmp_path: Path) -> None:
    prepared(tmp_path, sums(20))
    before = (tmp_path / "out" / "train.parquet").read_bytes()
    with pytest.raises(CustomDataError, match="would be overwritten"):
        prepare_file(tmp_path / "out" / "train.parquet", tmp_path / "out", test_share=0.3, seed=1)
    assert (tmp_path / "out" / "train.parquet").read_bytes() == before
    with pytest.raises(CustomDataError, match="row 3, column answer: empty"):
        prepare_file(jsonl(tmp_path / "bad.jsonl", [*sums(2), {"question": "q"}]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_rows_in_the_training_format_may_come_as_json(tmp_path: Path) -> None:
    rows = read_rows(prepared(tmp_path, sums(30)).train)
    data = prepare_file(jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "again", test_share=0.3, seed=1)
    answers = [row["answer"] for path in (data.train, data.test) for row in read_rows(path)]
    assert sorted(answers) == sorted(row["answer"] for row in rows)


def test_a_ground_truth_of_ones_own_may_have_any_shape(tmp_path: Path) -> None:
    rows = read_rows(prepared(tmp_path, sums(30)).train)
    for row in rows:
        row["reward_model"]["ground_truth"] = {
            "numbers": ["one", "two"],
            "target": "3",
            "names": "x",
            "statements": "y",
        }
    source = jsonl(tmp_path / "rows.jsonl", rows)
    data = prepare_file(source, tmp_path / "again", f"{EXAMPLE / 'reward.py'}:reward", test_share=0.5, seed=1)
    assert data.n_train + data.n_test == len(rows)
    assert read_rows(data.train)[0]["reward_model"]["ground_truth"]["numbers"] == ["one", "two"]
