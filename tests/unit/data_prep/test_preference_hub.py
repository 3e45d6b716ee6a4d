"""HelpSteer2, UltraFeedback, UltraChat: small copies in the hub's format, scores by hand, counted losses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.files.cells import BadCell
from data_prep.preference.hub import IN_TEST, helpsteer2_prompt, write_task
from data_prep.preference.schema import Row, read_rows
from data_prep.preference.views import pairs
from data_prep.task_commands import preference as main

USER, ASSISTANT = "user", "assistant"


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": (USER, ASSISTANT)[at % 2], "content": text} for at, text in enumerate(texts)]


def rated(prompt: str, response: str, *ratings: int) -> dict[str, Any]:
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    return {"prompt": prompt, "response": response, **dict(zip(names, (*ratings, 2, 2), strict=False))}


def helpsteer2(folder: Path, train: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> Path:
    """As the hub holds it: packed jsonl, and folders of other data beside it."""
    (folder / "preference").mkdir(parents=True)
    with gzip.open(folder / "preference" / "preference.jsonl.gz", "wt") as file:
        file.write('{"prompt": "not this", "response_1": "", "response_2": ""}\n')
    for split, rows in (("train", train), ("validation", test)):
        with gzip.open(folder / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def parquet(folder: Path, **splits: Sequence[dict[str, Any]]) -> Path:
    """As the hub holds it: data/SPLIT-00000-of-00001.parquet."""
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(list(rows)), folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def rows_of(folder: Path) -> tuple[list[Row], list[Row]]:
    return read_rows(folder / "train.parquet"), read_rows(folder / "test.parquet")


def by_answer(rows: Sequence[Row]) -> dict[str, Row]:
    return {row["completion"]: row for row in rows}


def test_helpsteer2_scores_weigh_three_attributes_and_answers_to_a_prompt_are_compared(tmp_path: Path) -> None:
    source = helpsteer2(
        tmp_path / "hub",
        [
            rated("c#", "good", 3, 4, 4),
            rated("java", "best", 4, 4, 4),
            rated("c#", "poor", 1, 0, 2),
            rated("java", "none", 0, 0, 0),
        ],
        [rated("go", "one", 2, 2, 2), rated("go", "two", 1, 2, 3)],
    )
    written = write_task("helpsteer2", tmp_path / "out", source=source)
    train, test = rows_of(tmp_path / "out")
    assert (written.n_train, written.n_test, written.left_out) == (4, 2, {})
    found = by_answer([*train, *test])
    expected = {"good": 6.95 / 7.6, "poor": 1.55 / 7.6, "best": 1.0, "none": 0.0, "one": 0.5, "two": 3.6 / 7.6}
    assert {answer: row["score"] for answer, row in found.items()} == pytest.approx(expected)
    assert {row["feedback"] for row in train} == {"score"}
    assert {row["data_source"] for row in train} == {"helpsteer2"}
    assert sorted((pair["chosen"], pair["rejected"]) for pair in pairs(train)) == [("best", "none"), ("good", "poor")]
    assert found["one"]["extra_info"]["split"] == "test"


def test_helpsteer2_turns_are_told_apart(tmp_path: Path) -> None:
    prompt = "Hi\nthere\n<extra_id_1>Assistant\nHello!\n\n<extra_id_1>User\nWrite a poem.\n"
    assert helpsteer2_prompt(prompt) == turns("Hi\nthere", "Hello!\n", "Write a poem.\n")
    assert helpsteer2_prompt("alone") == turns("alone")


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        ("a\n<extra_id_1>Assistant\nb", "turns do not alternate"),
        ("a\n<extra_id_1>User\nb", "turns do not alternate"),
        ("a\n<extra_id_1>Assistant\n \n<extra_id_1>User\nb", "a blank turn"),
        ("a\n<extra_id_1>System\nb", "a mark between turns that cannot be read"),
        ("a <extra_id_1>", "a mark between turns that cannot be read"),
    ],
)
def test_broken_helpsteer2_turns_are_named(prompt: str, what: str) -> None:
    with pytest.raises(BadCell, match=what):
        helpsteer2_prompt(prompt)


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path) -> None:
    source = helpsteer2(
        tmp_path / "hub",
        [
            rated("p", "fine", 4, 4, 4),
            rated("p", " ", 4, 4, 4),
            rated("p", "beyond", 5, 4, 4),
            rated("GO ", "seen", 1, 1, 1),
            rated("q\n<extra_id_1>Assistant\nb", "x", 1, 1, 1),
            {"prompt": "r", "response": "unrated"},
        ],
        [rated("go", "one", 2, 2, 2)],
    )
    written = write_task("helpsteer2", tmp_path / "out", source=source)
    assert by_answer(rows_of(tmp_path / "out")[0]).keys() == {"fine"}
    assert written.left_out == {
        "column response: empty": 1,
        "column helpfulness: a score outside 0 to 4": 1,
        IN_TEST: 1,
        "column prompt: turns do not alternate from the user to the user": 1,
        "column helpfulness: empty": 1,
    }


def preferred(prompt: str, chosen: str, rejected: str, high: float, low: float) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "prompt_id": "1",
        "chosen": turns(prompt, chosen),
        "rejected": turns(prompt, rejected),
        "messages": turns(prompt, chosen),
        "score_chosen": high,
        "score_rejected": low,
    }


def test_ultrafeedback_scores_of_one_to_ten_are_put_on_zero_to_one(tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "hub",
        train_prefs=[
            preferred("p", "a", "b", 10.0, 1.0),
            preferred("q", "c", "d", 7.75, 5.5),
            preferred("r", "same", "same", 5.0, 5.0),
            preferred("s", "e", "f", 6.0, 6.0),
            preferred("t", "g", "h", 11.0, 6.0),
            preferred("u", "", "h", 8.0, 6.0),
        ],
        test_prefs=[preferred("x", "i", "j", 3.0, 2.0)],
        train_sft=[preferred("no", "no", "not this", 3.0, 2.0)],
    )
    written = write_task("ultrafeedback", tmp_path / "out", source=source)
    train, test = rows_of(tmp_path / "out")
    scores = {answer: row["score"] for answer, row in by_answer(train).items()}
    assert scores == pytest.approx({"a": 1.0, "b": 0.0, "c": 0.75, "d": 0.5, "e": 5 / 9, "f": 5 / 9})
    assert [len(pairs(train)), len(pairs(test))] == [2, 1]
    assert written.left_out == {
        "column rejected: chosen and rejected are the same": 1,
        "column score_chosen: a score outside 1 to 10": 1,
        "column chosen: a blank turn": 1,
    }


def test_ultrachat_conversations_are_unfolded_turn_by_turn(tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "hub",
        train_sft=[{"messages": turns("a", "b", "c", "d")}, {"messages": turns("only asked")}],
        test_sft=[{"messages": turns("x", "y")}],
    )
    written = write_task("ultrachat", tmp_path / "out", source=source)
    train, _ = rows_of(tmp_path / "out")
    assert [(row["prompt"], row["completion"], row["score"], row["feedback"]) for row in train] == [
        (turns("a"), "b", 1.0, "instruction"),
        (turns("a", "b", "c"), "d", 1.0, "instruction"),
    ]
    assert written.left_out == {"column messages: no turn of the assistant": 1}


def test_fewer_rows_are_the_beginning_of_more_and_pairs_stay_whole(tmp_path: Path) -> None:
    both = [rated(f"p{n // 2}", f"answer {n}", n % 5, 2, 3) for n in range(40)]
    source = helpsteer2(tmp_path / "hub", both, [rated("x", "y", 1, 1, 1), rated("z", "y", 1, 1, 1)])
    found = {}
    for n in (None, 20, 7):
        write_task("helpsteer2", tmp_path / str(n), source=source, n_train=n, n_test=1, seed=2)
        found[n] = [row["completion"] for row in rows_of(tmp_path / str(n))[0]]
    assert found[20] == found[None][:20]
    assert found[7] == found[None][:6]
    assert sorted(found[None]) == sorted(row["response"] for row in both)
    write_task("helpsteer2", tmp_path / "again", source=source, n_train=20, n_test=1, seed=2)
    assert [row["completion"] for row in rows_of(tmp_path / "again")[0]] == found[20]
    write_task("helpsteer2", tmp_path / "other", source=source, n_train=20, n_test=1, seed=3)
    assert [row["completion"] for row in rows_of(tmp_path / "other")[0]] != found[20]
    with pytest.raises(ValueError, match="asked for 41 train rows; there are 40 usable ones"):
        write_task("helpsteer2", tmp_path / "out", source=source, n_train=41)


def test_one_file_gives_both_parts_with_nothing_shared(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text("\n".join(json.dumps({"messages": turns(f"q{n}", f"a{n}")}) for n in range(30)))
    write_task("ultrachat", tmp_path / "out", source=file)
    train, test = ({row["completion"] for row in rows} for rows in rows_of(tmp_path / "out"))
    assert (len(train), len(test)) == (27, 3)
    assert not train & test


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no validation.parquet, .jsonl, .json or .csv in this folder"),
        ({"validation.jsonl": '{"prompt": "p"}'}, "lacks the columns response, helpfulness, correctness, coherence"),
        ({"validation.jsonl": "{"}, "validation.jsonl, line 1: not JSON"),
        ({"validation.jsonl.gz": "no gzip"}, "cannot be read"),
    ],
)
def test_a_copy_that_cannot_be_read_is_an_error_for_people(
    tmp_path: Path, files: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    arguments = ["helpsteer2", "--source", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_without_a_way_to_the_hub_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def offline(name: str, config: None, split: str) -> None:
        asked.append((name, split))
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(ValueError, match=r"cannot load nvidia/HelpSteer2 .* no route; .* name the folder or file"):
        write_task("helpsteer2", tmp_path)
    assert asked == [("nvidia/HelpSteer2", "validation")]
    with pytest.raises(
        ValueError, match="there is no alignment data set 'hh'; choose one of helpsteer2, ultrafeedback"
    ):
        write_task("hh", tmp_path)


def test_rows_of_the_hub_library_are_read_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    parts = {
        "train_sft": datasets.Dataset.from_list([{"messages": turns("a", "b")}]),
        "test_sft": datasets.Dataset.from_list([{"messages": turns("x", "y")}]),
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config, split: parts[split])
    write_task("ultrachat", tmp_path)
    assert [row["completion"] for rows in rows_of(tmp_path) for row in rows] == ["b", "y"]


def test_the_command_says_what_it_wrote_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = helpsteer2(
        tmp_path / "hub", [rated("a", "b", 1, 1, 1), rated("a", "", 1, 1, 1)], [rated("x", "y", 1, 1, 1)]
    )
    assert main(["helpsteer2", "--source", str(source), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "skipped 1: column response: empty" in out
    assert f"{tmp_path / 'out' / 'train.parquet'}: 1 row," in out
    assert main(["countdown_preference", "--source", "x"]) == 2
    assert "remove --source" in capsys.readouterr().err
