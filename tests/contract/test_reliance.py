"""Which rollouts are scored without their hints, and as what; the data plane and the pass itself made by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recipes.algorithms.base import Bare, Group, Hint
from recipes.verl_plugin import reliance as module
from recipes.verl_plugin.reliance import MOST_ROWS, reliance, spread
from tests.helpers.groups import group

pytestmark = pytest.mark.contract

QUESTION, LONGER = [7, 8], [7, 5, 8]


class Scorer:
    """Stands for the trainer's pass: every token has log-probability -2."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, prompts: list[list[int]], responses: list[list[int]]) -> None:
        self.asked: list[tuple[list[int], list[int]]] = []
        kept = {"prompts": prompts, "responses": responses}

        def get(keys: list[str], partition_id: str, select_fields: list[str]) -> Any:
            nested = {name: [torch.tensor(kept[name][int(key)]) for key in keys] for name in select_fields}
            return {name: torch.nested.as_nested_tensor(each, layout=torch.jagged) for name, each in nested.items()}

        def score(keys: Any, tags: Any, prompts: Any, responses: Any, masks: Any, **_: Any) -> list[torch.Tensor]:
            assert len(keys) == len({*keys}) == len(tags)
            self.asked = [(a.tolist(), b.tolist()) for a, b in zip(prompts, responses, strict=True)]
            return [torch.full((len(each),), -2.0) for each in responses]

        monkeypatch.setattr(module.tq, "kv_batch_get", get)
        monkeypatch.setattr(module, "score", score)
        self.rows = len(prompts)

    def ask(self, groups: list[Group], longest: int = 99, ranks: int = 1) -> dict[str, float]:
        place, rows = 0, []
        for each in groups:
            rows.append(list(range(place, place + len(each.ok))))
            place += len(each.ok)
        batch = SimpleNamespace(keys=[str(row) for row in range(place)], partition_id="train")
        encoder: Any = SimpleNamespace(prompt=lambda messages: QUESTION)
        passes: dict[str, Any] = {"workers": None, "encoder": encoder, "temperature": 1.0, "longest": longest}
        return reliance(batch, rows, groups, ranks=ranks, **passes)


def test_right_rollouts_are_scored_without_what_they_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hinted and right; hinted and wrong; without a verdict; bare and right. Log-probabilities were -.5."""
    plans = [Hint(2), Hint(2), Hint(2), Bare()]
    hinted = group([1.0, 0.1, 1.0, 1.0], ok=[True, True, False, True], given=[2, 2, 2, 0], plans=plans)
    scorer = Scorer(monkeypatch, [QUESTION] * 4, [[1, 2, 3, 4]] * 3 + [[3, 4]])
    assert scorer.ask([hinted]) == {"uft/hint_reliance": 1.5, "uft/hint_reliance_rows": 1}
    assert scorer.asked == [(QUESTION, [3, 4])]


def test_a_hint_in_the_question_is_left_out_of_it_and_one_that_was_too_long_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans = [Hint(share=0.5, where="prompt")] * 2
    scorer = Scorer(monkeypatch, [LONGER, QUESTION], [[3, 4]] * 2)
    assert scorer.ask([group([1.0, 1.0], plans=plans)]) == {"uft/hint_reliance": 1.5, "uft/hint_reliance_rows": 1}
    assert scorer.asked == [(QUESTION, [3, 4])]


def test_without_a_hinted_success_nothing_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(monkeypatch, [QUESTION] * 4, [[1, 2, 3, 4]] * 4)
    assert scorer.ask([group([0.0] * 4, given=2, plans=[Hint(2)] * 4)]) == {}
    assert scorer.ask([group([1.0] * 4)]) == {}
    # Of a plan of no segments nothing is given.
    assert scorer.ask([group([1.0] * 4, plans=[Hint(0)] * 4)]) == {}
    assert scorer.ask([group([1.0] * 4, given=2, plans=[Hint(2)] * 4)], longest=3) == {}
    assert not scorer.asked


def test_rows_divide_among_ranks_and_a_row_that_fills_up_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(monkeypatch, [QUESTION] * 3, [[1, 3, 4], [1, 3], [1, 3, 4]])
    each = group([1.0] * 3, given=1, generated=[2, 1, 2], plans=[Hint(1)] * 3)
    assert scorer.ask([each], ranks=2) == {"uft/hint_reliance": 1.5, "uft/hint_reliance_rows": 3}
    assert len(scorer.asked) == 4


def test_of_many_rows_some_are_taken_evenly() -> None:
    assert spread([*range(5)], 5) == [0, 1, 2, 3, 4]
    assert spread([*range(10)], 4) == [0, 2, 5, 7]
    found = spread([*range(1000)], MOST_ROWS)
    assert len({*found}) == MOST_ROWS
