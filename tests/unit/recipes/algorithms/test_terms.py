"""Terms of the loss: golden sums, counts, shapes, and invariance to micro-batches and ranks."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipes.algorithms.base import Bare, Group, Term, Weights, grpo
from recipes.algorithms.losses.terms import streams, term_sum

C = SimpleNamespace(sft_loss_coef=0.5, hint_nll_agg="token-mean")


def group(given: torch.Tensor, ok: list[bool] | None = None) -> Group:
    n = len(given)
    return Group(
        scores=torch.zeros(n),
        ok=torch.tensor(ok or [True] * n),
        plans=(Bare(),) * n,
        given=given.bool(),
        gen=~given.bool(),
        demo=torch.zeros_like(given, dtype=torch.bool),
        old=torch.zeros(given.shape),
        key="q",
        step=1,
    )


def only(groups: list[Group], weighed: list[Weights], **counts: Any) -> Any:
    (found,) = streams(groups, weighed, **{"updates": 1, "votes": 4.0, "length": 10, **counts})
    return found


def test_the_sum_is_minus_the_log_probabilities_of_weighted_tokens() -> None:
    log_probs = torch.log(torch.tensor([[0.5, 0.25, 0.9]]))
    total = term_sum(log_probs, torch.tensor([[1.0, 1.0, 0.0]]), None)
    assert total.item() == pytest.approx(3 * 0.6931472, abs=1e-6)


def test_masked_positions_may_be_anything_and_get_no_gradient() -> None:
    log_probs = torch.tensor([[-1.0, float("nan"), -2.0]], requires_grad=True)
    total = term_sum(log_probs, torch.tensor([[1.0, 0.0, 1.0]]), None)
    total.backward()
    assert total.item() == 3.0
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == [[-1.0, 0.0, -1.0]]


def test_a_shape_that_is_infinite_at_one_leaves_padding_alone() -> None:
    log_probs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    total = term_sum(log_probs, torch.tensor([[1.0, 0.0]]), lambda p: 1 / (1 - p))
    total.backward()
    assert total.item() == pytest.approx(1 / (1 - math.exp(-1)))
    assert log_probs.grad is not None
    assert log_probs.grad[0].tolist() == pytest.approx([-1 / (1 - math.exp(-1)), 0.0])


def test_a_shape_scales_the_gradient_and_is_not_differentiated() -> None:
    log_probs = torch.log(torch.tensor([[0.5, 0.2]])).requires_grad_()
    term_sum(log_probs, torch.tensor([[2.0, -1.0]]), lambda p: p * (1 - p)).backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0].tolist() == pytest.approx([-2 * 0.25, 0.16], abs=1e-6)


def test_luffys_term_has_the_gradient_of_its_objective() -> None:
    """d(-A f(p)) with f(p) = p / (p + .1), by autograd."""
    from recipes.algorithms.luffy import GAMMA, shape

    advantage = torch.tensor([[0.75, 0.75, -0.25]])
    ours = torch.log(torch.tensor([[0.9, 0.05, 0.3]])).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    term_sum(ours, advantage, shape).backward()
    (-(advantage * theirs.exp() / (theirs.exp() + GAMMA)).sum()).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)


def test_the_hints_term_is_a_mean_over_tokens_or_the_papers_sum_over_sequences() -> None:
    hinted = group(torch.tensor([[1, 1, 0], [1, 0, 0]]))
    mean = only([hinted], [grpo(hinted, C)])
    assert (mean.name, mean.coef, mean.shape) == ("hint_nll", 0.5, None)
    assert torch.equal(mean.rows[0], torch.tensor([[1 / 3, 1 / 3, 0], [1 / 3, 0, 0]]))
    paper = grpo(hinted, SimpleNamespace(sft_loss_coef=0.5, hint_nll_agg="seq-mean-token-sum"))
    assert only([hinted], [paper]).rows[0][0].tolist() == [0.25, 0.25, 0.0]


@pytest.mark.parametrize(("norm", "count"), [("tokens", 3), ("rows", 2), ("sequences", 4), ("length", 40)])
def test_every_norm_counts_what_it_says_and_two_updates_share_it(norm: Any, count: float) -> None:
    each = group(torch.tensor([[1, 1, 0], [1, 0, 0]]))
    weighed = [Weights(terms=(Term(each.given.float(), "t", norm=norm),))]
    assert only([each], weighed).rows[0].max().item() == pytest.approx(1 / count)
    if norm in ("tokens", "rows"):  # the others are told for one update
        assert only([each], weighed, updates=2).rows[0].max().item() == pytest.approx(2 / count)


def test_nothing_to_count_divides_by_one() -> None:
    each = group(torch.zeros(2, 3))
    found = only([each], [grpo(each, C)])
    assert found.empty
    assert torch.isfinite(found.rows[0]).all()


def test_a_row_without_a_verdict_weighs_nothing_and_is_not_counted() -> None:
    each = group(torch.tensor([[1, 1, 0], [1, 0, 0]]), ok=[False, True])
    assert only([each], [grpo(each, C)]).rows[0].tolist() == [[0, 0, 0], [1, 0, 0]]


def test_prompts_that_disagree_on_the_terms_are_refused() -> None:
    each = group(torch.zeros(1, 1))
    with pytest.raises(ValueError, match="different terms for different prompts"):
        streams([each, each], [grpo(each, C), Weights()], updates=1, votes=1, length=1)
    with pytest.raises(ValueError, match="norm 'mean' of the term t: use tokens"):
        streams([each], [Weights(terms=(Term(each.old, "t", norm="mean"),))], updates=1, votes=1, length=1)  # type: ignore[arg-type]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 10**6), st.data())
def test_the_global_value_does_not_depend_on_how_rows_are_split(
    rows: int, width: int, seed: int, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = -torch.rand(rows, width, generator=generator, dtype=torch.float64)
    each = group(torch.rand(rows, width, generator=generator) > 0.5)
    weights = only([each], [grpo(each, C)]).rows[0].double()
    whole = term_sum(log_probs, weights, None)
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    parts = torch.tensor_split(torch.arange(rows), cuts)
    split = sum(term_sum(log_probs[part], weights[part], None) for part in parts)
    assert float(split) == pytest.approx(float(whole), abs=1e-12)
