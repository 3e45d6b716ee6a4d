"""The judge: strict verdicts, retries, failures counted apart, resuming; against a small server of the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.judge import JUDGED, Judge, JudgeError, item_key, judge_items, question, read_verdict, summarise
from tests.helpers.judge_server import Reply, Server

YES, NO = '{"correct": true}', '{"correct": false}'


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[dict[str, Any], int], Reply]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def quick(server: Server, **changes: Any) -> Judge:
    return Judge(**{"endpoint": server.endpoint, "model": "m", "attempts": 3, **changes})


def item(number: int, acc: float, output: str = "") -> dict[str, Any]:
    return {
        "input": f"question {number}",
        "output": output or f"<answer> {number} </answer>",
        "pred": str(number),
        "ground_truth": {"answers": [str(number)]},
        "data_source": "general_knowledge",
        "acc": acc,
    }


def write(path: Path, items: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in items), encoding="utf-8")
    return path


def number_of(body: dict[str, Any]) -> int:
    return int(body["messages"][-1]["content"].split("question ", 1)[1].split("\n")[0])


def test_agreement_and_kappa_are_those_of_the_textbook() -> None:
    # Cohen's own kind of table: 20 both yes, 5 only exact, 10 only judge, 15 both no.
    exact = [True] * 25 + [False] * 25
    verdicts: list[bool | None] = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = summarise("m", exact, verdicts)
    assert (found.agreement, found.exact_accuracy, found.judge_accuracy) == (0.7, 0.5, 0.6)
    assert found.kappa == pytest.approx(0.4)
    assert (found.only_exact, found.only_judge) == (5, 10)


def test_failed_judgements_are_counted_apart_and_change_no_rate() -> None:
    judged = summarise("m", [True, False, True], [True, False, False])
    with_failed = summarise("m", [True, False, True, True, False], [True, False, False, None, None])
    assert (with_failed.items, with_failed.judged, with_failed.failed) == (5, 3, 2)
    assert with_failed.judge_accuracy == judged.judge_accuracy
    assert with_failed.agreement == judged.agreement
    assert with_failed.kappa == judged.kappa


def test_rates_that_nothing_tells_are_none() -> None:
    nobody = summarise("m", [True], [None])
    assert (nobody.agreement, nobody.kappa, nobody.judge_accuracy) == (None, None, None)
    assert summarise("m", [True, True], [True, True]).kappa is None


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (YES, True),
        (NO, False),
        ('  {"correct" : true}\n', True),
        ('```json\n{"correct": false}\n```', False),
        ("", None),
        (None, None),
        ("true", None),
        ("correct", None),
        ('{"correct": "true"}', None),
        ('{"correct": 1}', None),
        ('{"correct": null}', None),
        ('{"correct": true, "why": "it is"}', None),
        ('{"correct": true, "correct": false}', None),
        ('[{"correct": true}]', None),
        ('I think {"correct": true}', None),
        ('{"correct": true} or {"correct": false}', None),
        ("[" * 100_000, None),
    ],
)
def test_only_an_exact_verdict_is_one(reply: str | None, verdict: bool | None) -> None:
    assert read_verdict(reply) is verdict


def test_a_run_asks_once_an_item_at_temperature_zero_and_reports(serve: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    server = serve(lambda body, _: (200, YES if number_of(body) < 3 else NO))
    items = write(tmp_path / "items.jsonl", [item(number, float(number < 2)) for number in range(6)])
    summary = judge_items(items, tmp_path / "out", quick(server, concurrency=2))
    assert (summary.judged, summary.failed, summary.only_judge, summary.only_exact) == (6, 0, 1, 0)
    assert summary.agreement == pytest.approx(5 / 6)
    assert len(server.bodies) == 6
    assert server.most_at_once <= 2
    assert all(body["temperature"] == 0 and body["model"] == "m" for body in server.bodies)
    assert set(server.authorizations) == {"Bearer sesame"}
    assert json.loads((tmp_path / "out" / "judge.json").read_text())["kappa"] == summary.kappa


def test_overload_and_nonsense_are_tried_again(serve: Any, tmp_path: Path) -> None:
    replies = {0: [(429, "slow down"), (500, "oops"), (200, YES)], 1: [(200, "well..."), (200, NO)]}
    server = serve(lambda body, count: replies[number_of(body)][count - 1])
    items = write(tmp_path / "items.jsonl", [item(0, 1.0), item(1, 0.0)])
    summary = judge_items(items, tmp_path / "out", quick(server))
    assert (summary.judged, summary.failed, summary.agreement) == (2, 0, 1.0)
    assert len(server.bodies) == 5


def test_a_later_run_asks_only_for_what_is_missing(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda body, _: (503, "down") if number_of(body) == 1 else (200, YES))
    items = write(tmp_path / "items.jsonl", [item(number, 1.0) for number in range(3)])
    first = judge_items(items, tmp_path / "out", quick(server, attempts=2))
    assert (first.judged, first.failed, first.judge_accuracy) == (2, 1, 1.0)
    # A kill in the middle of a line.
    with (tmp_path / "out" / JUDGED).open("a") as file:
        file.write('{"key": "abc", "corr')
    again = serve(lambda body, _: (200, NO))
    second = judge_items(items, tmp_path / "out", quick(again))
    assert [number_of(body) for body in again.bodies] == [1]
    assert (second.judged, second.failed, second.only_exact) == (3, 0, 1)
    judge_items(items, tmp_path / "out", quick(again))
    assert len(again.bodies) == 1


def test_a_changed_answer_or_another_judge_is_a_new_question() -> None:
    key = item_key(item(0, 1.0), 0, "m")
    assert key == item_key(item(0, 0.0), 0, "m")
    assert (
        len(
            {
                key,
                item_key(item(0, 1.0, "other"), 0, "m"),
                item_key(item(0, 1.0), 1, "m"),
                item_key(item(0, 1.0), 0, "n"),
            }
        )
        == 4
    )


@pytest.mark.parametrize("status", [401, 404, 400])
def test_an_endpoint_that_refuses_stops_the_run(serve: Any, tmp_path: Path, status: int) -> None:
    server = serve(lambda body, _: (status, "no such model"))
    items = write(tmp_path / "items.jsonl", [item(number, 1.0) for number in range(20)])
    with pytest.raises(JudgeError, match=rf"status {status}.*OPENAI_API_KEY"):
        judge_items(items, tmp_path / "out", quick(server, concurrency=1))
    assert len(server.bodies) < 5


def test_nobody_at_the_endpoint_is_a_failure_not_a_verdict(tmp_path: Path) -> None:
    items = write(tmp_path / "items.jsonl", [item(0, 1.0)])
    judge = Judge("http://127.0.0.1:9/v1", "m", attempts=2)
    summary = judge_items(items, tmp_path / "out", judge)
    assert (summary.judged, summary.failed, summary.judge_accuracy) == (0, 1, None)


def test_answers_of_any_characters_can_be_sent(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda body, _: (200, YES))
    odd = item(0, 1.0, "line\u2028separator")
    half = json.loads(json.dumps(item(1, 1.0, "half \ud800")))
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps(odd, ensure_ascii=False) + "\n" + json.dumps(half) + "\n", encoding="utf-8")
    assert judge_items(path, tmp_path / "out", quick(server)).judged == 2


def test_a_long_answer_keeps_its_end() -> None:
    asked = question(item(0, 1.0, "x" * 100_000 + "THE END"))
    assert "THE END" in asked
    assert len(asked) < 20_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}\n", "line 1, key input: missing"),
        ("nonsense\n", "line 1: not JSON"),
        ("", "line 1: not JSON"),
        (json.dumps({**item(0, 1.0), "acc": "yes"}) + "\n", "key acc: must be 0 or 1"),
    ],
)
def test_items_of_another_form_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(text)
    with pytest.raises(JudgeError, match=message):
        judge_items(path, tmp_path / "out", Judge("http://127.0.0.1:9/v1", "m"))
