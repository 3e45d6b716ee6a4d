"""A user's own preferences and instructions are kept letter for letter, whatever file they come in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.faults import CustomDataError
from data_prep.preference.local import examine, looks_like_answers, write_local
from data_prep.preference.schema import read_rows, write_rows
from data_prep.preference.split import beginning
from tests.helpers.preference_checks import CHAT, LABEL, PAIR, SCORE, SCORED_PAIR, file_of, turns, understood


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
        "end with the user, whose last turn has no answer and is skipped": [2],
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
        "row 2, column score: a score outside 1 to 4 (4.5); fix the row or the scale" in examine(path, 1, 4).complaint()
    )
    for low, high in ((1, None), (None, 5), (5, 1), (1, 1), (float("nan"), 1)):
        with pytest.raises(CustomDataError, match="give both, the worst and the best score there can be"):
            examine(path, low, high)
    assert "there are no scores; remove --score-min" in examine(file_of(tmp_path, [PAIR]), 1, 5).complaint()


ASKED = {"from": "human", "value": "q"}
BETTER, WORSE = ({"from": "gpt", "value": text} for text in ("good", "bad"))


@pytest.mark.parametrize(
    ("row", "asked", "feedback"),
    [
        # LLaMA-Factory's: pairs, the older pairs, judged conversations, instructions with what was said before.
        ({"conversations": [ASKED], "chosen": BETTER, "rejected": WORSE}, turns("q"), "pairwise"),
        (
            {"conversations": [ASKED], "system": "s", "chosen": BETTER, "rejected": WORSE},
            [{"role": "system", "content": "s"}, *turns("q")],
            "pairwise",
        ),
        ({"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"}, turns("q"), "pairwise"),
        ({"instruction": "q", "input": "i", "chosen": "good", "rejected": "bad"}, turns("q\ni"), "pairwise"),
        ({"conversations": [ASKED, BETTER], "kto_tag": True}, turns("q"), "binary"),
        ({"messages": turns("q", "good"), "label": "good"}, turns("q"), "binary"),
        ({"instruction": "q", "output": "good", "history": [["a", "b"]]}, turns("a", "b", "q"), "instruction"),
        ({"instruction": "q", "output": "good", "history": None}, turns("q"), "instruction"),
        # TRL's, with and without a prompt of its own.
        ({"prompt": turns("q"), "chosen": [turns("q", "good")[1]], "rejected": "bad"}, turns("q"), "pairwise"),
        ({"chosen": turns("q", "good"), "rejected": turns("q", "bad")}, turns("q"), "pairwise"),
        ({"prompt": turns("q"), "completion": [turns("q", "good")[1]]}, turns("q"), "instruction"),
        ({"prompt": "q", "completion": "good", "label": True}, turns("q"), "binary"),
    ],
)
def test_the_files_of_other_trainers_are_read(tmp_path: Path, row: Any, asked: Any, feedback: str) -> None:
    found = examine(file_of(tmp_path, [row]))
    assert found.problems == []
    first = found.rows[0]
    assert (first["prompt"], first["completion"], first["feedback"]) == (asked, "good", feedback)


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
