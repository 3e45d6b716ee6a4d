"""The hint's log-likelihood: which tokens are hint tokens, golden sums, and invariance to micro-batches and ranks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipes.losses.hint_nll import hint_mask, hint_nll_scale, hint_nll_sum


def test_hint_tokens_are_the_zeros_before_the_first_generated_token() -> None:
    loss_mask = torch.tensor([[0, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0]])
    expected = [[1, 1, 0, 0, 0], [0] * 5, [0] * 5, [1, 0, 0, 0, 0]]
    assert hint_mask(loss_mask).int().tolist() == expected


def test_the_sum_is_minus_the_log_probabilities_of_hint_tokens() -> None:
    log_probs = torch.log(torch.tensor([[0.5, 0.25, 0.9]]))
    total = hint_nll_sum(log_probs, torch.tensor([[True, True, False]]))
    assert total.item() == pytest.approx(3 * 0.6931472, abs=1e-6)


def test_masked_positions_may_be_anything_and_get_no_gradient() -> None:
    log_probs = torch.tensor([[-1.0, float("nan"), -2.0]], requires_grad=True)
    total = hint_nll_sum(log_probs, torch.tensor([[True, False, True]]))
    total.backward()
    assert total.item() == 3.0
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == [[-1.0, 0.0, -1.0]]


def test_token_mean_and_the_papers_sum_divide_by_what_they_say() -> None:
    assert hint_nll_scale("token-mean", hint_tokens=40, sequences=8) == 40
    assert hint_nll_scale("seq-mean-token-sum", hint_tokens=40, sequences=8) == 8
    assert hint_nll_scale("token-mean", hint_tokens=0, sequences=8) == 1
    with pytest.raises(ValueError, match="token-mean"):
        hint_nll_scale("mean", hint_tokens=1, sequences=1)  # type: ignore[arg-type]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 10**6), st.data())
def test_the_global_value_does_not_depend_on_how_rows_are_split(
    rows: int, width: int, seed: int, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = -torch.rand(rows, width, generator=generator, dtype=torch.float64)
    mask = hint_mask(torch.rand(rows, width, generator=generator) > 0.5)
    scale = hint_nll_scale("token-mean", hint_tokens=float(mask.sum()), sequences=rows)
    whole = hint_nll_sum(log_probs, mask) / scale
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    parts = torch.tensor_split(torch.arange(rows), cuts)
    split = sum(hint_nll_sum(log_probs[part], mask[part]) / scale for part in parts)
    assert float(split) == pytest.approx(float(whole), abs=1e-12)
