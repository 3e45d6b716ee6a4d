"""Summaries of evaluated items against hand-computed values."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.intervals import bootstrap
from eval.metrics import error_of, powers_of_two, summarise
from eval.problems import Settings
from recipes.run import evaluate_stage
from recipes.run.evaluate_stage import validation_metrics
from recipes.verl_plugin.validation import (
    GREEDY,
    SEEN,
    TRUNCATED,
    cut_off,
    parted,
    sampled_and_greedy,
    validation_accuracy,
    without_truncated,
)
from recipes.watch.heartbeat import NOTICE


def test_powers_of_two() -> None:
    assert [powers_of_two(n) for n in (1, 2, 3, 4, 9)] == [[1], [1, 2], [1, 2], [1, 2, 4], [1, 2, 4, 8]]


def item(problem: int, sample: int, acc: float, source: str = "countdown", **more: Any) -> dict[str, Any]:
    found = {"problem": problem, "sample": sample, "data_source": source, "tokens": 10, "truncated": False, "acc": acc}
    found |= {"format": 1.0, "parse_fail": 0.0, "reward_error": 0.0, "timeout": 0.0, "partial": acc, "pred": str(acc)}
    return found | more


def pooled(items: Sequence[dict[str, Any]]) -> dict[str, float]:
    block = summarise(items)["pooled"]
    assert isinstance(block, dict)
    return block


def test_summary_by_hand() -> None:
    items = [
        item(0, 0, 1.0, tokens=10),
        item(0, 1, 0.0, tokens=20),
        item(1, 0, 0.0, tokens=30, format=0.0, parse_fail=1.0, pred=""),
        item(1, 1, 0.0, tokens=64, format=0.0, parse_fail=1.0, pred="", truncated=True),
    ]
    block = pooled(items)
    assert (block["problems"], block["samples"]) == (2, 4)
    assert block["accuracy"] == block["pass@1"] == block["avg@2"] == 0.25
    assert block["pass@2"] == 0.5
    assert block["maj@2"] == 0.25  # one right and one wrong vote on the first problem, none on the second
    assert (block["format_rate"], block["truncation_rate"], block["partial"]) == (0.5, 0.25, 0.25)
    assert (block["tokens_mean"], block["tokens_p50"]) == (31, 25)
    assert block["tokens_p95"] == pytest.approx(64 - 0.15 * 34)
    assert (block["error_wrong"], block["error_unreadable"], block["error_truncated"]) == (0.25, 0.25, 0.25)
    assert "pass@4" not in block


def test_a_model_that_solves_nothing_may_solve_something() -> None:
    block = pooled([item(number, 0, 0.0, "aime24") for number in range(30)])
    assert (block["accuracy"], block["accuracy_low"]) == (0.0, 0.0)
    assert block["accuracy_high"] == pytest.approx(0.1135, abs=1e-4)


def test_equal_answers_vote_together_whatever_their_text() -> None:
    said = [("1 + 2", 1.0, 0), ("2 + 1", 1.0, 0), ("(1 + 2)", 1.0, 0), ("7", 0.0, 3), ("7", 0.0, 3)]
    items = [item(0, n, acc, pred=text, vote=vote) for n, (text, acc, vote) in enumerate(said)]
    assert pooled(items)["maj@5"] == 1.0
    # Items from before there were votes go by their text.
    assert pooled([{k: v for k, v in each.items() if k != "vote"} for each in items])["maj@5"] == 0.0


def test_order_of_items_does_not_matter() -> None:
    items = [item(p, s, float((p + s) % 3 == 0), tokens=p + s) for p in range(5) for s in range(4)]
    shuffled = random.Random(0).sample(items, len(items))
    assert summarise(shuffled) == summarise(items)


def test_sources_weigh_the_same_in_the_unweighted_mean_and_problems_in_the_pooled() -> None:
    items = [item(p, 0, 1.0, "gsm8k") for p in range(9)] + [item(p, 0, 0.0, "aime24") for p in range(1)]
    found = summarise(items)
    assert found["pooled"]["accuracy"] == 0.9  # type: ignore[index]
    unweighted = found["mean_over_sources_unweighted"]
    assert isinstance(unweighted, dict)
    assert (unweighted["accuracy"], unweighted["pass@1"], unweighted["problems"]) == (0.5, 0.5, 10)
    # 9 of 9 and 0 of 1 are no certainty: Wilson's .7009 to 1 and 0 to .7935, their widths squared, summed and halved.
    assert unweighted["accuracy_low"] == pytest.approx(0.5 - 0.2991 / 2, abs=1e-4)
    assert unweighted["accuracy_high"] == pytest.approx(0.5 + 0.7935 / 2, abs=1e-4)
    assert list(found["sources"]) == ["aime24", "gsm8k"]  # type: ignore[call-overload]


def test_sources_with_other_numbers_of_samples_share_what_both_have() -> None:
    items = [item(0, s, 1.0, "aime24") for s in range(4)] + [item(0, s, 0.0, "gsm8k") for s in range(2)]
    unweighted = summarise(items)["mean_over_sources_unweighted"]
    assert isinstance(unweighted, dict)
    assert unweighted["pass@2"] == 0.5
    assert not {"pass@4", "maj@4", "maj@2"} & set(unweighted)


def test_groups_are_told_apart_within_their_source() -> None:
    items = [item(p, 0, float(p == 0), "kk_logic", group=f"{3 + p} people") for p in range(2)]
    items += [item(0, 0, 1.0, "math"), item(1, 0, 0.0, "math", group=None)]
    groups = summarise(items)["groups"]
    assert isinstance(groups, dict)
    assert list(groups) == ["kk_logic"]
    assert {name: block["accuracy"] for name, block in groups["kk_logic"].items()} == {"3 people": 1, "4 people": 0}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"acc": 1.0, "truncated": True}, None),
        ({}, "wrong"),
        ({"parse_fail": 1.0}, "unreadable"),
        ({"parse_fail": 1.0, "truncated": True}, "truncated"),
        ({"truncated": True, "timeout": 1.0}, "timeout"),
        ({"reward_error": 1.0, "timeout": 1.0}, "reward_error"),
    ],
)
def test_every_answer_has_one_reason(fields: dict[str, Any], reason: str | None) -> None:
    assert error_of({"acc": 0.0, **fields}) == reason


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(*[st.booleans()] * 5), min_size=1, max_size=12))
def test_accuracy_and_errors_make_one(flags: list[tuple[bool, ...]]) -> None:
    names = ("parse_fail", "truncated", "reward_error", "timeout")
    items = [
        item(number, 0, float(acc), **dict(zip(names, map(float, rest), strict=True)))
        for number, (acc, *rest) in enumerate(flags)
    ]
    block = pooled(items)
    shares = [value for name, value in block.items() if name.startswith("error_")]
    assert len(shares) == 5
    assert block["accuracy"] + sum(shares) == pytest.approx(1.0)


def test_summary_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="no answers"):
        summarise([])
    with pytest.raises(ValueError, match=r"item 1: acc must be 0 or 1, got 0\.5"):
        summarise([item(0, 0, 1.0), item(1, 0, 0.5)])
    with pytest.raises(ValueError, match="item 2: countdown problem 0 sample 0 occurs twice"):
        summarise([item(0, 0, 1.0), item(0, 1, 0.0), item(0, 0, 0.0)])


def test_samples_of_one_problem_are_not_independent_problems() -> None:
    """Eight equal samples a problem tell no more than one: the interval may not shrink."""
    once = [0.0, 1.0] * 20
    assert bootstrap(once).high - bootstrap(once).low == pytest.approx(0.31, abs=0.03)
    items = [item(problem, sample, acc) for problem, acc in enumerate(once) for sample in range(8)]
    block = pooled(items)
    assert block["accuracy_high"] - block["accuracy_low"] == pytest.approx(0.31, abs=0.03)


def test_chosen_k_are_the_only_ones_in_every_block() -> None:
    # Two problems with 4 samples: 1 and 2 right. pass@3: 1 - C(3,3)/C(4,3) = 3/4, and 1 - 0.
    items = [item(0, 0, 1.0), *(item(0, n, 0.0) for n in (1, 2, 3))]
    items += [item(1, n, float(n < 2)) for n in range(4)]
    found = summarise(items, (3,))
    for block in (found["pooled"], found["mean_over_sources_unweighted"], *found["sources"].values()):
        assert {name for name in block if name.startswith("pass@")} == {"pass@3"}
        assert block["pass@3"] == pytest.approx(0.875)


@given(
    st.lists(
        st.lists(st.sampled_from(["right", "wrong", "reward_error", "timeout"]), min_size=3, max_size=3), min_size=1
    ),
    st.integers(1, 2),
)
def test_the_accuracy_of_a_run_means_the_same_by_its_evaluations_and_by_its_validation(
    verdicts: list[list[str]], sources: int
) -> None:
    """Failed verdicts are in neither."""
    items = [
        item(number, sample, float(each == "right"), str(number % sources), **{each: 1.0})
        for number, problem in enumerate(verdicts)
        for sample, each in enumerate(problem)
    ]
    keys = ("acc", "reward_error", "timeout")
    infos = {key: [each[key] for each in items] for key in keys}
    asked = {(each["data_source"], str(each["problem"])): 3 for each in items}
    trained = validation_accuracy(
        [each["data_source"] for each in items], [str(each["problem"]) for each in items], infos, asked
    )
    evaluated = validation_metrics(items)
    shared = {name: value for name, value in evaluated.items() if "acc" in name or "answers" in name or "fail" in name}
    assert shared == pytest.approx({name: value for name, value in trained.items() if "pass" not in name})


def test_greedy_answers_of_a_validation_are_counted_beside_the_sampled_ones() -> None:
    """Two problems, two sampled answers and a greedy one each; of the second only a sampled one came."""
    infos = {"acc": [1.0, 0.0, 1.0, 1.0], "timeout": [0.0] * 4, GREEDY: [None, None, 1, None]}
    sources, uids = ["chain"] * 4, ["a", "a", "a", "b"]
    asked = {("chain", "a"): 3, ("chain", "b"): 3}
    found = sampled_and_greedy(sources, uids, infos, asked)
    assert found["val/acc"] == found["val/acc/chain"] == 0.5
    assert found["val/pass@2"] == 1.0
    assert found["val/greedy"] == found["val/greedy/chain"] == 0.5
    assert (found["val/answers"], found["val/failed"]) == (4.0, 0.0)
    assert "val-aux/chain/acc/mean@2" in found
    assert not any(GREEDY in name for name in found)
    # An agent loop of the user's own draws no greedy answer: all it drew are sampled.
    assert sampled_and_greedy(sources, uids, {**infos, GREEDY: [None] * 4}, {("chain", "a"): 3, ("chain", "b"): 1})[
        "val/acc"
    ] == pytest.approx(5 / 6)


def test_columns_of_a_validation_are_parted_by_the_kind_of_answer() -> None:
    infos = {"acc": [1, 0, 1], GREEDY: [None, 1, None]}
    sampled, greedy = parted(infos, outputs=["a", "b", "c"])
    assert sampled == {"outputs": ["a", "c"], "infos": {"acc": [1, 1]}}
    assert greedy == {"outputs": ["b"], "infos": {"acc": [0]}}
    assert parted({"uid": ["x"]}, outputs=["a"])[0] == {"outputs": ["a"], "infos": {"uid": ["x"]}}


def test_a_stage_that_evaluates_names_the_greedy_accuracy_as_training_does() -> None:
    found = validation_metrics([item(0, 0, 1.0), item(0, 1, 0.0)], [item(0, -1, 1.0)])
    assert (found["val/acc"], found["val/greedy"], found["val/greedy/countdown"]) == (0.5, 1.0, 1.0)


def test_the_first_validation_says_how_many_answers_were_cut_off() -> None:
    infos = {"acc": [1.0, 0.0, 0.0, 0.0], TRUNCATED: [0, 1, 1, None], SEEN: ["<s>q"] * 4}
    rest, found = without_truncated(infos)
    assert rest == {"acc": infos["acc"]}
    assert found == {"val/truncated": pytest.approx(2 / 3)}
    assert "67% of the model's answers are cut off at --max_response_length 64" in str(cut_off(found, 64))
    assert without_truncated({"acc": [1.0]}) == ({"acc": [1.0]}, {})
    assert cut_off({}, 64) is None
    assert cut_off({"val/truncated": 0.001}, 64) is None


def test_every_evaluation_says_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = dict.fromkeys((each.name for each in fields(Settings)), "") | {"max_response_length": 32}
    given = {"settings": settings, "device": "cpu", "gpu_memory": 0.1, "ks": None, "run": None, "step": None}
    (tmp_path / "evaluate.json").write_text(json.dumps(given))

    def evaluated(_: Settings, out: Path, **__: Any) -> None:
        lines = [item(0, 0, 1.0), item(1, 0, 0.0, truncated=True)]
        (out / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    monkeypatch.setattr(evaluate_stage, "evaluate", evaluated)
    monkeypatch.setattr(sys, "argv", ["evaluate_stage", str(tmp_path / "evaluate.json")])
    evaluate_stage.main()
    assert f"{NOTICE}50% of the model's answers are cut off at --max_response_length 32" in capsys.readouterr().out
