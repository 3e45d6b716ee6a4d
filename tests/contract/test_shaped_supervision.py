"""DFT's loss on verl and on TRL: golden sums, equal to TRL's own, and what leads to it."""

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recipes.algorithms import find_shape, get_algorithm
from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES

pytestmark = pytest.mark.contract

SHAPE = "recipes.algorithms.dft:probability"


def flags(**changed: Any) -> dict[str, Any]:
    return {"algo": "dft", "model": "Qwen/Qwen2.5-0.5B", **changed}


def test_the_shape_reaches_both_trainers_and_sft_has_none() -> None:
    from recipes.data.datafiles import locate
    from recipes.run.build_stages import training_plan
    from recipes.verl_plugin.verl_config import sft_config

    files = {"train_file": Path("a"), "test_file": Path("b"), "resume_from": None}
    for algo, shape in (("dft", SHAPE), ("sft", "")):
        on_problems = build_experiment(flags(algo=algo), PROFILES["1x80gb"])
        config = sft_config(on_problems, run=RunDir(Path("out/x")), model=on_problems.model, **files)
        assert config["uft"]["shape"] == shape
        on_answers = build_experiment(flags(algo=algo, data="countdown_preference"), PROFILES["1x80gb"])
        assert on_answers.stages == ("alignment",)
        plan = training_plan(on_answers, RunDir(Path("out/x")), locate(on_answers, Path()))
        assert (plan.method, plan.shape) == ("sft", shape)
    assert find_shape(SHAPE) is get_algorithm("dft").supervised


@pytest.mark.parametrize("nested", [True, False])
def test_verls_loss_is_the_mean_of_minus_p_log_p(nested: bool) -> None:
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu
    from verl.utils.dataset.dataset_utils import DatasetPadMode

    from recipes.verl_plugin.sft_main import shaped_loss

    # Rows of prompt, solution: verl shifts the mask to the left, so the log-probability of a token stands before it.
    rows = [torch.log(torch.tensor([0.5, 0.25, 0.9])), torch.log(torch.tensor([0.1, 0.7]))]
    masks = [torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0])]
    leaves = [row.clone().requires_grad_() for row in rows]
    if nested:
        log_probs: Any = torch.nested.as_nested_tensor(leaves, layout=torch.jagged)
        mask: Any = torch.nested.as_nested_tensor(masks, layout=torch.jagged)
        data = TensorDict({"loss_mask": mask}, batch_size=2)
    else:
        log_probs = torch.nn.utils.rnn.pad_sequence(leaves, batch_first=True)
        data = TensorDict({"response_mask": torch.tensor([[1.0, 1, 0], [1.0, 0, 0]])}, batch_size=2)
        tu.assign_non_tensor(data, pad_mode="left_right")
        assert data["pad_mode"] != DatasetPadMode.NO_PADDING
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=3)
    loss, _ = partial(shaped_loss, find_shape(SHAPE), None)(model_output={"log_probs": log_probs}, data=data)
    trained = [0.5, 0.25, 0.1]
    assert loss.item() == pytest.approx(-sum(p * math.log(p) for p in trained) / 3, abs=1e-6)
    loss.backward()
    assert leaves[0].grad is not None
    assert leaves[1].grad is not None
    assert leaves[0].grad.tolist() == pytest.approx([-0.5 / 3, -0.25 / 3, 0])
    assert leaves[1].grad.tolist() == pytest.approx([-0.1 / 3, 0])


def test_on_instructions_it_is_trls_own_loss() -> None:
    from trl.trainer.sft_trainer import dft_loss

    from recipes.trl_plugin.trainers import shaped_loss

    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 5, 7, generator=generator)
    labels = torch.tensor([[-100, -100, 3, 4, 0], [-100, 6, 1, -100, -100]])
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    mine = shaped_loss(find_shape(SHAPE), SimpleNamespace(logits=ours), labels, torch.tensor(8))
    trls = dft_loss(SimpleNamespace(logits=theirs), labels.clone(), torch.tensor(8))
    assert mine.item() == pytest.approx(trls.item(), abs=1e-6)
    mine.backward()
    trls.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)
    assert ours.grad.abs().sum() > 0
