"""Log-probabilities in blocks against verl's, row by row: values, gradients, and that verl uses them."""

import inspect
import os
import subprocess
import sys

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


def test_verl_uses_them_in_every_process_of_a_run() -> None:
    """In a process of its own: what is replaced stays replaced."""
    from verl.utils import torch_functional

    assert "logprobs_from_logits_v2(logits, labels)" in inspect.getsource(torch_functional.logprobs_from_logits)
    code = "import verl.utils.torch_functional as f; print(f.logprobs_from_logits_v2.__module__)"
    environment = os.environ | {"VERL_USE_EXTERNAL_MODULES": "recipes.verl_plugin.external", "UFT_SEED": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip().endswith("recipes.verl_plugin.log_probs"), done.stderr[-2000:]
