"""A user's own preferences and instructions: kept letter for letter, or every fault named by row, column and mend."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.__main__ import main
from data_prep.custom_report import CustomDataError
from data_prep.preference.local import examine, looks_like_answers, write_local
from data_prep.preference.schema import read_rows, write_rows
from data_prep.preference.split import beginning

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom" / "preferences.jsonl"
PAIR = {"prompt": "p", "chosen": "good", "rejected": "bad"}
LABEL = {"prompt": "p", "completion": "c", "label": True}
SCORE = {"prompt": "p", "completion": "c", "score": 0.5}
SCORED_PAIR = {**PAIR, "chosen_score": 0.9, "rejected_score": 0.1}


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


CHAT = {"messages": turns("a", "b", "c", "d")}


def file_of(folder: Path, rows: Sequence[Any], name: str = "mine.jsonl") -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif name.endswith(".csv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8")
    elif name.endswith(".json"):
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def understood(path: Path, **scale: float) -> list[tuple[list[dict[str, str]], str, float, str]]:
    found = examine(path, **scale)
    assert not found.problems, found.complaint()
    return [(list(map(dict, r["prompt"])), r["completion"], r["score"], r["feedback"]) for r in found.rows]


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.json", "mine.csv", "mine.parquet"])
def test_the_same_answers_come_out_of_every_kind_of_file(tmp_path: Path, name: str) -> None:
    asked = turns("p")
    for row, expected in (
        (PAIR, [(asked, "good", 1.0, "pairwise"), (asked, "bad", 0.0, "pairwise")]),
        (SCORED_PAIR, [(asked, "good", 0.9, "score"), (asked, "bad", 0.1, "score")]),
        (LABEL, [(asked, "c", 1.0, "binary")]),
        (SCORE, [(asked, "c", 0.5, "score")]),
        ({"prompt": "p", "completion": "c"}, [(asked, "c", 1.0, "instruction")]),
        ({"instruction": "p", "input": "", "output": "c"}, [(asked, "c", 1.0, "instruction")]),
        ({"instruction": "p", "input": "q", "output": "c"}, [(turns("p\nq"), "c", 1.0, "instruction")]),
    ):
        assert understood(file_of(tmp_path, [row], name)) == expected


def test_conversations_may_stand_wherever_texts_do(tmp_path: Path) -> None:
    system = {"role": "system", "content": ""}
    answer = {"role": "assistant", "content": "good"}
    other = {"role": "assistant", "content": "bad"}
    long = [system, *turns("a", "b", "c")]
    rows = [
        {"prompt": long, "chosen": [answer], "rejected": [other]},
        {"chosen": [*long, answer], "rejected": [*long, other]},
        {"prompt": long, "chosen": [*long, answer], "rejected": "bad"},
        {"prompt": "c", "chosen": [*long, answer], "rejected": [*long, other]},
        {"prompt": json.dumps(long), "chosen": json.dumps([answer]), "rejected": "bad"},
    ]
    assert understood(file_of(tmp_path, rows)) == [(long, "good", 1.0, "pairwise"), (long, "bad", 0.0, "pairwise")] * 5


def test_every_turn_of_the_assistant_becomes_a_row_with_all_turns_before_it(tmp_path: Path) -> None:
    path = file_of(tmp_path, [CHAT, {"messages": turns("a", "b", "open")}])
    assert understood(path) == [
        (turns("a"), "b", 1.0, "instruction"),
        (turns("a", "b", "c"), "d", 1.0, "instruction"),
        (turns("a"), "b", 1.0, "instruction"),
    ]
    assert examine(path).noted == {
        "end with the user, whose last turn has no answer and is left out": [2],
        "repeat an earlier answer": [2],
    }


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, 1.0),
        (False, 0.0),
        (1, 1.0),
        (0, 0.0),
        (1.0, 1.0),
        ("true", 1.0),
        ("False", 0.0),
        ("GOOD", 1.0),
        ("bad", 0.0),
        ("0", 0.0),
    ],
)
def test_labels_may_be_written_in_many_ways(tmp_path: Path, value: Any, label: float) -> None:
    assert understood(file_of(tmp_path, [{**LABEL, "label": value}])) == [(turns("p"), "c", label, "binary")]


def test_scores_on_another_scale_are_never_guessed(tmp_path: Path) -> None:
    path = file_of(tmp_path, [{**SCORE, "score": 2}, {**SCORE, "completion": "d", "score": "4.5"}])
    complaint = examine(path).complaint()
    assert "column score: scores go from 2 to 4.5, so what the worst and the best possible score are" in complaint
    assert "say it with --score-min and --score-max" in complaint
    assert complaint.startswith(f"{path}: 1 problem")
    assert [score for _, _, score, _ in understood(path, score_min=1, score_max=5)] == [0.25, 0.875]
    assert (
        "row 2, column score: a score outside 1 to 4 (4.5); mend the row or the scale"
        in examine(path, 1, 4).complaint()
    )
    for low, high in ((1, None), (None, 5), (5, 1), (1, 1), (float("nan"), 1)):
        with pytest.raises(CustomDataError, match="give both, the worst and the best score there can be"):
            examine(path, low, high)
    assert "there are no scores; leave out --score-min" in examine(file_of(tmp_path, [PAIR]), 1, 5).complaint()


@pytest.mark.parametrize(
    ("good", "row", "expected"),
    [
        (PAIR, {**PAIR, "chosen": " "}, "row 2, column chosen: empty; put the chosen there or delete the row"),
        (PAIR, {**PAIR, "prompt": None}, "row 2, column prompt: empty"),
        (PAIR, {"prompt": "p", "chosen": "x"}, "row 2, column rejected: empty"),
        (PAIR, {**PAIR, "rejected": " good\n"}, "row 2, column rejected: chosen and rejected are the same ('good')"),
        (PAIR, {**PAIR, "chosen": {"text": "x"}}, "row 2, column chosen: a dict, not one text"),
        (PAIR, {**PAIR, "prompt": []}, "row 2, column prompt: empty; put messages there"),
        (PAIR, {**PAIR, "prompt": turns("a", "b")}, "row 2, column prompt: the last turn is not the user's"),
        (
            PAIR,
            {**PAIR, "prompt": [{"role": "human", "content": "a"}]},
            "unknown role (message 1: 'human'); use system",
        ),
        (PAIR, {**PAIR, "prompt": [{"from": "user", "value": "a"}]}, "not a message with the texts role and content"),
        (PAIR, {**PAIR, "prompt": turns("a", " ", "b")}, "column prompt: a blank turn (message 2, of the assistant)"),
        (PAIR, {**PAIR, "chosen": turns("p")}, "row 2, column chosen: the last turn is not the assistant's"),
        (PAIR, {**PAIR, "chosen": turns("z", "x")}, "a whole conversation that is not about the row's prompt"),
        (PAIR, {**PAIR, "chosen": "x\0"}, "row 2, column chosen: holds a NUL character"),
        (PAIR, '{"prompt": "p", "chosen": "\\ud800", "rejected": "b"}', "column chosen: holds half a character"),
        (PAIR, {**PAIR, "chosen": "x" * 200_001}, "row 2, column chosen: longer than 200,000 characters"),
        (PAIR, '{"prompt": ', "row 2: not valid JSON"),
        (PAIR, "[1]", "row 2: not an object"),
        (
            {"chosen": turns("a", "x"), "rejected": turns("a", "y")},
            {"chosen": turns("a", "b", "c", "x"), "rejected": turns("a", "z", "c", "y")},
            "row 2, column rejected: chosen and rejected are not answers to the same conversation (turn 2 differs)",
        ),
        (
            {"chosen": turns("a", "x"), "rejected": turns("a", "y")},
            {"chosen": turns("a", "b", "c", "x"), "rejected": turns("a", "y")},
            "not answers to the same conversation (one has more turns)",
        ),
        (
            {"chosen": turns("a", "x"), "rejected": turns("a", "y")},
            {"chosen": "x", "rejected": turns("a", "y")},
            "row 2, column chosen: an answer without its prompt; add a column prompt",
        ),
        (SCORED_PAIR, {**SCORED_PAIR, "chosen_score": None}, "row 2, column chosen_score: empty"),
        (SCORED_PAIR, {**SCORED_PAIR, "chosen_score": 0.05}, "the chosen answer has the lower score (0.05 and 0.1)"),
        (LABEL, {**LABEL, "label": None}, "row 2, column label: empty; put the label there or delete the row"),
        (LABEL, {**LABEL, "label": "maybe"}, "row 2, column label: not a label ('maybe'); write true or false"),
        (LABEL, {**LABEL, "label": 2}, "row 2, column label: not a label ('2')"),
        (LABEL, {**LABEL, "label": False}, "the same prompt and completion have the opposite label further up (row 1)"),
        (LABEL, {"prompt": "p", "completion": "c"}, "row 2, column label: empty"),
        (SCORE, {**SCORE, "score": "high"}, "row 2, column score: not a number ('high')"),
        (SCORE, {**SCORE, "score": True}, "row 2, column score: a truth value"),
        (SCORE, '{"prompt": "p", "completion": "c", "score": NaN}', "row 2: not valid JSON (NaN is not a JSON value)"),
        (CHAT, {"messages": "a"}, "row 2, column messages: a text, not messages"),
        (CHAT, {"messages": turns("a")}, "row 2, column messages: no turn of the assistant"),
        (
            CHAT,
            {"messages": turns("a", "b")[::-1]},
            "a turn of the assistant does not follow one of the user (message 1)",
        ),
        (
            {"instruction": "i", "output": "o"},
            {"instruction": "i", "input": "x", "output": None},
            "row 2, column output: empty",
        ),
    ],
)
def test_each_fault_of_a_row_names_row_column_and_mend(tmp_path: Path, good: Any, row: Any, expected: str) -> None:
    complaint = examine(file_of(tmp_path, [good, row])).complaint()
    assert expected in complaint
    assert "1 problem in 1 row (row = line of the file, the first is 1)" in complaint


def test_a_row_with_several_faults_shows_them_all(tmp_path: Path) -> None:
    row = {"prompt": " ", "chosen": 1.5, "rejected": [], "chosen_score": "x"}
    complaint = examine(file_of(tmp_path, [SCORED_PAIR, row])).complaint()
    for fault in ("prompt: empty", "rejected: empty", "chosen_score: not a number", "rejected_score: empty"):
        assert f"row 2, column {fault}" in complaint
    assert "4 problems in 1 row" in complaint


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "chosen": "c"}, "column rejected: there is a column chosen, but none named rejected; add it"),
        ({**PAIR, "score_chosen": 1}, "there is a column chosen_score, but none named rejected_score; add it"),
        ({**LABEL, "score": 1}, "both a label and a score are given; delete the column that should not count"),
        ({"completion": "c", "label": 1}, "no column for the prompt; name it prompt (the file has completion, label)"),
        ({**CHAT, "score": 1}, "column score: a score without a column of completions; name the answers' column"),
        ({**PAIR, "output": "o"}, "no column for the instruction; name it instruction"),
    ],
)
def test_columns_that_leave_the_meaning_open_are_named(tmp_path: Path, row: Any, expected: str) -> None:
    assert expected in examine(file_of(tmp_path, [row])).complaint()


def test_wrong_encodings_and_numbers_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, [SCORE])
    path.write_bytes(b'{"prompt": "caf\xe9", "completion": "c", "score": 1}\n')
    assert "row 1: not UTF-8 (byte 0xe9" in examine(path).complaint()
    path.write_bytes(json.dumps(SCORE).encode("utf-16"))
    assert "is UTF-16 text; save the file as UTF-8" in examine(path).complaint()
    pq.write_table(pa.table({"prompt": ["p"], "completion": ["c"], "score": [float("nan")]}), tmp_path / "n.parquet")
    assert "row 0, column score: empty" in examine(tmp_path / "n.parquet").complaint()


def test_oddities_between_rows_are_noted_with_their_rows(tmp_path: Path) -> None:
    rows = [
        SCORED_PAIR,
        SCORED_PAIR,
        {**SCORED_PAIR, "chosen": "bad", "rejected": "good"},
        {**SCORED_PAIR, "chosen": "other", "rejected_score": 0.9},
    ]
    assert examine(file_of(tmp_path, rows)).noted == {
        "repeat an earlier pair": [2],
        "prefer the answer that an earlier row rejects": [3],
        "score both answers alike and so give no pair": [4],
    }
    assert examine(file_of(tmp_path, [SCORE, SCORE, {**SCORE, "score": 0.7}])).noted == {
        "repeat an earlier answer": [2],
        "give an earlier answer another score": [3],
    }


def test_answers_to_one_prompt_are_one_group_and_pairs_stay_for_themselves(tmp_path: Path) -> None:
    scored = [{**SCORE, "completion": text} for text in "xy"] + [{**SCORE, "prompt": "q"}]
    groups = [row["group"] for row in examine(file_of(tmp_path, scored)).rows]
    assert groups[0] == groups[1] != groups[2]
    groups = [row["group"] for row in examine(file_of(tmp_path, [PAIR, {**PAIR, "chosen": "better"}])).rows]
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_rows_in_the_alignment_format_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = examine(file_of(tmp_path, [SCORED_PAIR, {**SCORED_PAIR, "prompt": "q"}])).rows
    whole = [{**row, "data_source": "theirs"} for row in rows]
    write_rows(tmp_path / "rows.parquet", whole)
    assert examine(tmp_path / "rows.parquet").rows == whole
    torn = file_of(tmp_path, [whole[0], {**whole[1], "prompt": turns("z")}, {**whole[2], "score": 3}])
    complaint = examine(torn).complaint()
    assert "row 2, column group: an earlier row of its group has another prompt (row 1)" in complaint
    assert "row 3, column score: must be a number from 0 to 1 (3); see docs/alignment_data.md" in complaint


# What a cell of a user's file may be: most of them make no sense where they stand.
cells = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from(["p", "good", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner, max_size=3)
        | st.just(turns("a", "b"))
        | st.just(turns("a"))
    ),
    max_leaves=4,
)
columns = [
    "prompt",
    "chosen",
    "rejected",
    "chosen_score",
    "completion",
    "label",
    "score",
    "messages",
    "output",
    "instruction",
]


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.sampled_from(columns), cells, max_size=5), min_size=1, max_size=4))
def test_whatever_the_cells_hold_each_row_gives_answers_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = file_of(tmp_path_factory.mktemp("cells"), rows)
    found = examine(path)
    assert looks_like_answers(path) or found.problems
    blamed = {problem.row for problem in found.problems}
    if None not in blamed:
        assert {number for number, _ in found.source.rows} == {*found.numbers} | blamed
    for row in found.rows:
        assert 0.0 <= row["score"] <= 1.0
        assert row["completion"].strip()


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    lambda text: bool(text.strip()) and text.strip().lower() != "nan" and not text.lstrip().startswith("[{")
)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(words, words, words), max_size=5), st.lists(st.lists(words, min_size=2, max_size=6), max_size=3)
)
def test_answers_are_kept_letter_for_letter_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, judged: list[tuple[str, str, str]], chats: list[list[str]]
) -> None:
    rows: list[dict[str, Any]] = []
    expected: Counter[tuple[str, str, float]] = Counter()
    for prompt, chosen, rejected in judged:
        if chosen.strip() == rejected.strip():
            continue
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
        expected.update([(json.dumps(turns(prompt)), chosen, 1.0), (json.dumps(turns(prompt)), rejected, 0.0)])
    for chat in chats:
        rows.append({"messages": turns(*chat)})
        expected.update((json.dumps(turns(*chat[:at])), chat[at], 1.0) for at in range(1, len(chat), 2))
    if rows:
        path = file_of(tmp_path_factory.mktemp("kept"), rows)
        found = understood(path)
        assert Counter((json.dumps(prompt), text, score) for prompt, text, score, _ in found) == expected


def test_conversations_that_begin_alike_stay_on_one_side_and_more_rows_move_none(tmp_path: Path) -> None:
    rows = [{"messages": turns(f"Question {n % 40}", f"a{n}", "more", "b")} for n in range(80)]
    sides = []
    for name, some in (("all", rows), ("some", rows[:50])):
        written = write_local(file_of(tmp_path, some), tmp_path / name, seed=1, test_share=0.3)
        files = [read_rows(path) for path in (written.train, written.test)]
        assert [written.n_train, written.n_test] == list(map(len, files))
        assert sum(map(len, files)) == 2 * len(some)
        train, test = ({beginning(row["prompt"]) for row in part} for part in files)
        assert not train & test
        sides.append(test)
    assert sides[1] <= sides[0]
    again = write_local(file_of(tmp_path, rows), tmp_path / "again", seed=1, test_share=0.3)
    assert again.test.read_bytes() == (tmp_path / "all" / "test.parquet").read_bytes()


def test_a_test_file_of_ones_own_may_share_nothing(tmp_path: Path) -> None:
    train = file_of(tmp_path, [PAIR, {**PAIR, "prompt": "q"}])
    test = file_of(tmp_path, [{**PAIR, "prompt": "x"}], "test.jsonl")
    written = write_local(train, tmp_path / "out", test_file=test)
    assert (written.n_train, written.n_test) == (4, 2)
    test = file_of(tmp_path, [{**PAIR, "prompt": "x"}, {**PAIR, "prompt": " Q"}], "test.jsonl")
    with pytest.raises(
        CustomDataError, match=r"row 2: a conversation in .*test.jsonl begins like this one \(row 2 there"
    ):
        write_local(train, tmp_path / "out", test_file=test)
    with pytest.raises(CustomDataError, match=r"none falls into the test part .* take --test-share 0\.\d+"):
        write_local(train, tmp_path / "none", test_share=0.001)
    with pytest.raises(CustomDataError, match="row 2, column rejected: empty"):
        write_local(file_of(tmp_path, [PAIR, {"prompt": "p", "chosen": "c"}]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_files_of_problems_are_not_taken_for_answers(tmp_path: Path) -> None:
    for row in (PAIR, LABEL, CHAT, {"instruction": "i", "output": "o"}):
        for name in ("x.jsonl", "x.json", "x.parquet"):
            assert looks_like_answers(file_of(tmp_path, [row], name))
    assert looks_like_answers(file_of(tmp_path, [PAIR], "x.csv"))
    for row in (
        {"question": "q", "answer": "a"},
        {"prompt": "q", "completion": "thoughts", "answer": "a"},
        {"instruction": "i", "input": "x", "answer": "a"},
        {"numbers": [1, 2], "target": 3, "answer": "1 + 2"},
    ):
        assert not looks_like_answers(file_of(tmp_path, [row]))
    assert not looks_like_answers(ROOT / "examples" / "custom" / "questions.jsonl")
    assert not looks_like_answers(tmp_path / "none.parquet")


def test_the_command_sums_up_the_example_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(EXAMPLE), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for part in (
        "preferences.jsonl: 15 rows (row = line of the file, the first is 1)",
        "answers   29: 24 score, 5 instruction",
        "gives     12 pairs (dpo), 24 labelled answers (kto), 24 scored answers (una), 5 instructions (sft)",
        "scores    as they are; 0 to 1",
        "its answer (score 0.1): 'Sydney.'",
        f"train on them with --algo una --data {tmp_path / 'out'}",
    ):
        assert part in out
    assert "note" not in out
    assert sum(len(read_rows(tmp_path / "out" / f"{split}.parquet")) for split in ("train", "test")) == 29
    assert main(["validate", str(tmp_path / "out" / "train.parquet")]) == 0
    assert "rows in the alignment format" in capsys.readouterr().out


def test_the_command_lists_faults_in_the_style_of_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, [{**PAIR, "prompt": ""}] * 7)
    assert main(["validate", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{path}: 7 problems in 7 rows (row = line of the file, the first is 1)" in shown.err
    assert "... and 2 more rows of this kind" in shown.err
    stars = file_of(tmp_path, [{**SCORE, "score": n, "prompt": str(n)} for n in range(1, 6)])
    assert main(["validate", str(stars), "--score-min", "1", "--score-max", "5"]) == 0
    assert "scores    1 to 5, put on 0 to 1; 0 to 1, 5 different ones" in capsys.readouterr().out
    questions = file_of(tmp_path, [{"question": "q", "answer": "a"}])
    assert main(["validate", str(questions), "--score-min", "1"]) == 1
    assert "holds no scored answers; leave them out" in capsys.readouterr().err


def test_the_list_of_commands_names_all_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in ("data_prep vnhsge", "data_prep general_knowledge", "data_prep.preference"):
        assert f"python -m {name}" in out
    item = {"ID": "MET_Phy_IE_2019_3", "Question": "Câu 3. Đo?\nA. 1\nB. 2\nC. 3\nD. 4", "Choice": "D"}
    source = file_of(tmp_path, [{**item, "Image_Question": ""}], "exam.json")
    assert main(["vnhsge", str(source), "--out", str(tmp_path / "vn")]) == 0
    assert "test.parquet: 1 questions" in capsys.readouterr().out
    assert main(["vnhsge", "--out", str(tmp_path / "vn")]) == 2
    assert "get it with `git clone" in capsys.readouterr().err
