"""Run by test_gradient_invariance on several ranks: gradients of every loss term from verl's own FSDP2 engine.

    torchrun --nproc_per_node=R gradient_worker.py MODEL OUT.pt
Every rank holds its share of the same eight sequences; for every loss term and micro-batch size the gradient of the
whole batch is written, gathered over ranks.
"""

import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.distributed import destroy_global_process_group
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import sft_loss
from verl.workers.utils.padding import response_from_nested

from recipes.verl_plugin.actor_loss import DUE, FAILED_ROWS, TERMS, actor_loss, row_loss, term_column
from recipes.verl_plugin.standalone import training_worker, update_batch

ROWS = 8
PACKED = "packed"
"""Micro-batches by tokens whose sequences stand one behind another, as on a GPU: attention (SDPA) keeps them apart."""
# Prompt, hint and generated tokens of each sequence: hints of every kind, none, and one row of verl's padding.
SHAPES = [(5, 3, 4), (4, 0, 6), (6, 7, 1), (3, 2, 9), (5, 0, 2), (4, 5, 5), (7, 1, 3), (5, 1, 0)]
LOSSES: dict[str, dict[str, Any]] = {
    "policy": {},
    "kl": {"kl_coef": 0.7},
    "entropy": {"entropy_coef": 0.3},
    "hint token-mean": {"hint": "tokens"},
    "hint paper sum": {"hint": "sequences"},
    "shaped demonstrations": {"hint": "tokens", "shape": "recipes.algorithms.luffy:shape"},
    "all": {"kl_coef": 0.7, "entropy_coef": 0.3, "hint": "tokens"},
    "una": {},
    "second update": {"hint": "tokens", "due": True},
    "rescored": {},
    "no verdict": {"kl_coef": 0.7, "entropy_coef": 0.3, "hint": "tokens", "failed": ROWS},
    "sft": {},
}


def batch(
    rank: int,
    world: int,
    vocabulary: int,
    *,
    with_advantages: bool,
    sft: bool,
    micro: int | None,
    failed: int = 0,
    hint: str | None = None,
    shape: str = "",
    due: bool = False,
    beside: int = 0,
    packed: bool = False,
) -> TensorDict:
    """This rank's rows of the batch all layouts share, in micro-batches of `micro` rows (None: by tokens).

    The first `failed` rows have no verdict: the trainer has masked them. Every prompt stands behind `beside` tokens.
    """
    context = torch.randint(1, vocabulary, (beside,), generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    columns: dict[str, list[torch.Tensor]] = {}
    # As the trainer writes them: hint tokens of rows with a verdict and a generated token, divided by their number.
    given = [
        torch.tensor([float(generated > 0 and place >= failed)] * hinted + [0.0] * generated)
        for place, (_, hinted, generated) in enumerate(SHAPES)
    ]
    count = sum(float(row.sum()) for row in given) if hint == "tokens" else float(ROWS)
    for place, (prompt, hinted, generated) in enumerate(SHAPES):
        length = hinted + generated
        ids = torch.cat([context, torch.randint(1, vocabulary, (prompt + length,), generator=generator)])
        prompt += beside
        mask = torch.tensor([0] * hinted + [1] * generated) * int(place >= failed)
        row = {
            "input_ids": ids,
            "position_ids": torch.arange(prompt + length),
            "prompts": ids[:prompt],
            "responses": ids[prompt:],
            "response_mask": mask,
            "loss_mask": torch.cat([torch.zeros(prompt, dtype=torch.long), mask]) if sft else mask,
            "old_log_probs": -6 * torch.rand(length, generator=generator),
            "ref_log_prob": -6 * torch.rand(length, generator=generator),
            "advantages": torch.randn(length, generator=generator) * mask * float(with_advantages),
            term_column(0): given[place] / max(count, 1.0),
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    mine = range(rank * ROWS // world, (rank + 1) * ROWS // world)
    return update_batch(
        {name: [rows[i] for i in mine] for name, rows in columns.items()},
        **{TERMS: json.dumps([["hint_nll", 0.9, shape]] if hint else []), FAILED_ROWS: float(failed), DUE: due},
        global_batch_size=ROWS,
        use_dynamic_bsz=micro is None,
        max_token_len_per_gpu=40,
        micro_batch_size_per_gpu=micro or 1,
        use_remove_padding=packed,
    )


def evidence(worker: TrainingWorker, *batches: TensorDict) -> torch.Tensor:
    """What another context changes in the log-probability of each response token: opsd's advantage, by two passes."""
    scored = []
    for data in batches:
        with worker.engine.eval_mode():
            found = worker.engine.infer_batch(data)["model_output"]["log_probs"]
        scored.append(response_from_nested(found, data["response_mask"]).unbind())
    masks = batches[0]["response_mask"].unbind()
    values = [(there - here) * mask for here, there, mask in zip(*scored, masks, strict=True)]
    return torch.nested.as_nested_tensor(values, layout=torch.jagged)


def gradients(worker: TrainingWorker, data: TensorDict, loss: Any) -> dict[str, torch.Tensor]:
    """Full gradient of every parameter after one batch."""
    with worker.engine.train_mode():
        worker.engine.optimizer_zero_grad()
        worker.engine.forward_backward_batch(data, loss)
        return {name: p.grad.full_tensor().clone() for name, p in worker.engine.module.named_parameters()}


def main() -> None:
    model, out = sys.argv[1], Path(sys.argv[2])
    worker, actor, rank, world = training_worker(model, out.parent)
    vocabulary = worker.model_config.hf_config.vocab_size
    found = {}
    for term, options in LOSSES.items():
        settings = OmegaConf.merge(
            actor,
            {
                "use_kl_loss": "kl_coef" in options,
                "kl_loss_coef": options.get("kl_coef", 0.0),
                "entropy_coeff": options.get("entropy_coef", 0.0),
            },
        )
        losses: dict[str, Any] = {
            "sft": partial(sft_loss, config=None),
            "una": partial(row_loss, "una_online", SimpleNamespace(beta=0.3, una_target="sigmoid")),
        }
        loss = losses.get(term, partial(actor_loss, omega_conf_to_dataclass(settings)))
        for micro in (4, 2, 1, None, PACKED):
            packed = micro == PACKED
            rows = partial(batch, rank, world, vocabulary, micro=None if packed else micro, packed=packed)
            data = rows(
                with_advantages=term in ("policy", "all"),
                sft=term == "sft",
                failed=options.get("failed", 0),
                hint=options.get("hint"),
                shape=options.get("shape", ""),
                due=options.get("due", False),
            )
            if term == "rescored":
                contexts = [rows(with_advantages=False, sft=False, beside=tokens) for tokens in (0, 4)]
                data["advantages"] = evidence(worker, *contexts)
            found[term, micro] = gradients(worker, data, loss)
    if rank == 0:
        torch.save(found, out)
    destroy_global_process_group()


if __name__ == "__main__":
    main()
