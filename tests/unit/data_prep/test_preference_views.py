"""Views of alignment rows: nothing invented, nothing lost uncounted, pairs that really differ, exact mixtures."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.preference.schema import Row
from data_prep.preference.views import BETWEEN, INSTRUCTION, NO_CONTRAST, binary, instructions, mixed, pairs, scored


def row(completion: str, score: float, feedback: str = "score", group: str = "g", prompt: str = "q") -> Row:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": completion,
        "score": score,
        "feedback": feedback,
        "group": group,
        "data_source": "test",
        "extra_info": {"index": 0, "split": "train"},
    }


@st.composite
def groups(draw: st.DrawFn, kinds: tuple[str, ...] = ("pairwise", "binary", "score", "instruction")) -> list[Row]:
    """Rows of up to six groups, mixed up; prompts are the groups' names, completions may repeat."""
    rows = []
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(kinds))
        scores = {
            "score": st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]),
            "instruction": st.just(1.0),
        }.get(kind, st.sampled_from([0.0, 1.0]))
        for _ in range(draw(st.integers(1, 5))):
            completion = draw(st.sampled_from(["a", "b", "c", "d"]))
            rows.append(row(completion, draw(scores), kind, f"g{number}", f"g{number}"))
    return draw(st.permutations(rows))


def said(items: Any) -> Counter[tuple[str, str]]:
    return Counter((item["prompt"][0]["content"], item["completion"]) for item in items)


def test_of_a_group_the_best_is_paired_with_the_worst() -> None:
    rows = [row("a", 0.4), row("b", 1.0), row("c", 0.1), row("d", 0.1), row("e", 0.3, group="other")]
    found = pairs(rows)
    asked = [{"role": "user", "content": "q"}]
    assert found == [
        {"prompt": asked, "chosen": "b", "rejected": "c", "chosen_score": 1.0, "rejected_score": 0.1},
    ]
    assert found.left_out == {BETWEEN: 2, NO_CONTRAST: 1}


def test_labels_come_from_the_best_and_the_worst_or_from_the_row_itself() -> None:
    rows = [
        row("a", 0.4),
        row("b", 0.45),
        row("alone good", 0.51, group="1"),
        row("alone bad", 0.5, group="2"),
        row("liked", 1.0, "binary", "3"),
        row("liked too", 1.0, "binary", "3"),
        row("better", 1.0, "pairwise", "4"),
        row("worse", 0.0, "pairwise", "4"),
        row("tie", 0.7, group="5"),
        row("tied", 0.7, group="5"),
        row("taught", 1.0, "instruction", "6"),
    ]
    found = binary(rows)
    assert {item["completion"]: item["label"] for item in found} == {
        "b": True,
        "a": False,
        "alone good": True,
        "alone bad": False,
        "liked": True,
        "liked too": True,
        "better": True,
        "worse": False,
    }
    assert found.left_out == {NO_CONTRAST: 2, INSTRUCTION: 1}


def test_an_answer_is_never_paired_with_itself() -> None:
    assert pairs([row("a", 1.0), row("a", 0.0)]) == []
    assert [(p["chosen"], p["rejected"]) for p in pairs([row("a", 1.0), row("a", 0.0), row("b", 0.2)])] == [("a", "b")]


def test_scores_are_refused_where_only_better_or_worse_is_known() -> None:
    rows = [row("a", 0.4), row("b", 1.0, "pairwise", "p"), row("c", 0.0, "pairwise", "p")]
    with pytest.raises(ValueError, match=r"row 1, column feedback: pairwise.*--feedback pairwise or --feedback binary"):
        scored(rows)
    with pytest.raises(ValueError, match="row 1, column feedback: pairwise"):
        mixed(rows, [], 0.0, seed=0)
    assert [item["score"] for item in mixed(rows[1:], [], 0.0, seed=0, feedback="binary")] in ([1.0, 0.0], [0.0, 1.0])


@settings(max_examples=30)
@given(groups())
def test_pairs_differ_strictly_and_every_row_is_in_a_pair_or_counted(rows: list[Row]) -> None:
    known = {(r["prompt"][0]["content"], r["completion"], r["score"]) for r in rows if r["feedback"] != "instruction"}
    found = pairs(rows)
    for pair in found:
        prompt = pair["prompt"][0]["content"]
        assert pair["chosen_score"] > pair["rejected_score"]
        assert pair["chosen"] != pair["rejected"]
        assert {
            (prompt, pair["chosen"], pair["chosen_score"]),
            (prompt, pair["rejected"], pair["rejected_score"]),
        } <= known
        scores = [r["score"] for r in rows if r["group"] == prompt]
        assert pair["chosen_score"] == max(scores)
    assert 2 * len(found) + sum(found.left_out.values()) == len(rows)
    assert pairs(rows) == found


@settings(max_examples=30)
@given(groups())
def test_labels_are_of_real_rows_and_every_row_is_labelled_or_counted(rows: list[Row]) -> None:
    found = binary(rows)
    assert said(found) <= said(r for r in rows if r["feedback"] != "instruction")
    assert len(found) + sum(found.left_out.values()) == len(rows)
    for group in {r["group"] for r in rows}:
        labels = {i["completion"]: i["label"] for i in found if i["prompt"][0]["content"] == group}
        members = [r for r in rows if r["group"] == group]
        if len(members) > 1 and members[0]["feedback"] in ("pairwise", "score") and labels:
            good, bad = (next(text for text, label in labels.items() if label is wanted) for wanted in (True, False))
            top = max(r["score"] for r in members if r["completion"] == good)
            assert top == max(r["score"] for r in members)
            assert good != bad
            assert min(r["score"] for r in members if r["completion"] == bad) < top


@settings(max_examples=30)
@given(groups(("binary", "score", "instruction")))
def test_scores_and_instructions_part_the_rows_in_order(rows: list[Row]) -> None:
    judged, taught = scored(rows), instructions(rows)
    assert [(i["completion"], i["score"]) for i in judged] == [
        (r["completion"], r["score"]) for r in rows if r["feedback"] != "instruction"
    ]
    assert [i["completion"] for i in taught] == [r["completion"] for r in rows if r["feedback"] == "instruction"]
    assert sum(judged.left_out.values()) == len(taught)
    assert sum(taught.left_out.values()) == len(judged)


@settings(max_examples=30)
@given(groups(("score", "binary", "instruction")), st.integers(0, 12), st.floats(0, 3), st.integers(0, 9))
def test_mixtures_hold_the_ratio_exactly_and_depend_on_the_seed_alone(
    rows: list[Row], n_taught: int, ratio: float, seed: int
) -> None:
    taught = [row(f"t{number}", 1.0, "instruction", f"t{number}", f"t{number}") for number in range(n_taught)]
    judged = scored(rows)
    wanted = math.floor(ratio * len(judged) + 0.5) if judged else n_taught
    if wanted > n_taught:
        with pytest.raises(ValueError, match="use --sft_ratio") as error:
            mixed(rows, taught, ratio, seed)
        possible = float(str(error.value).partition("use --sft_ratio ")[2].split()[0])
        assert len(mixed(rows, taught, possible, seed)) <= len(judged) + n_taught
        return
    found = mixed(rows, taught, ratio, seed)
    lessons = [item for item in found if item["completion"].startswith("t")]
    assert len(lessons) == wanted == len({item["completion"] for item in lessons})
    assert all(item["score"] == 1.0 for item in lessons)
    others = Counter((i["completion"], i["score"]) for i in found if not i["completion"].startswith("t"))
    assert others == Counter((i["completion"], i["score"]) for i in judged)
    assert sum(found.left_out.values()) == n_taught - wanted
    assert mixed(rows, taught, ratio, seed) == found


def test_mixtures_are_shuffled_and_another_seed_draws_others() -> None:
    judged = [row(str(number), 0.5, group=str(number)) for number in range(50)]
    taught = [row(f"t{number}", 1.0, "instruction", f"t{number}") for number in range(100)]
    first, second = ([i["completion"] for i in mixed(judged, taught, 1.0, seed)] for seed in (0, 1))
    assert first != second
    assert set(first) != set(second)
    assert first != sorted(first, key=lambda text: text.startswith("t"))
    with pytest.raises(ValueError, match="--sft_ratio -1"):
        mixed(judged, taught, -1.0, 0)
