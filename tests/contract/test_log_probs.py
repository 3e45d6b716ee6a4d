"""Log-probabilities in blocks against verl's, row by row (that verl uses them: test_verl_hooks.py)."""

import pytest
import torch

from recipes.verl_plugin import log_probs

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("shape", [(7, 11), (2, 3, 11), (1, 11)])
@pytest.mark.parametrize("block", [1, 22, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_gradients_are_verls(
    shape: tuple[int, ...], block: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.utils import torch_functional

    monkeypatch.setattr(log_probs, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(shape[-1], shape[:-1], generator=generator)
    start = (5 * torch.randn(shape, generator=generator)).to(dtype)
    weight = torch.randn(shape[:-1], generator=generator).to(dtype)
    found = []
    for function in (torch_functional.logprobs_from_logits_v2, log_probs.log_probs_in_blocks):
        logits = start.clone().requires_grad_()
        value = function(logits, labels)
        (value * weight).sum().backward()
        found.append((value, logits.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
