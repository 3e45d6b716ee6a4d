"""Tries whether one actor update on a run's largest possible micro-batch fits in memory (--auto_batch).

    torchrun --nproc_per_node=R -m recipes.verl_plugin.probe FOLDER [OVERRIDES]
FOLDER/verl.yaml is that of the run. It fails as the run would; the watchdog reads the reason from the log.
"""

import json
from functools import partial
from typing import Any

import torch
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.device import get_device_id
from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group

from recipes.common.records import Records
from recipes.verl_plugin.actor_loss import TERMS, actor_loss, term_column
from recipes.verl_plugin.compose import arguments, load_config
from recipes.verl_plugin.standalone import update_batch, worker_of
from recipes.verl_plugin.verl_config import REINFORCEMENT

# Bytes of the device that a sleeping engine keeps (CUDA graphs, its context).
ENGINE_RESIDUE = 2 * 10**9


def longest_rows(tokens: int, prompt: int, response: int, vocabulary: int) -> dict[str, list[torch.Tensor]]:
    """Rows of maximal length that fill `tokens`; the last one is shorter, so that the sum is exact."""
    lengths = [prompt + response] * (tokens // (prompt + response))
    # A row needs a prompt and at least one hint token and one generated token.
    if (rest := tokens - sum(lengths)) >= prompt + 2:
        lengths.append(rest)
    columns: dict[str, list[torch.Tensor]] = {}
    for length in lengths:
        answer = length - prompt
        ids, mask = torch.randint(1, vocabulary, (length,)), torch.ones(answer, dtype=torch.long)
        mask[: answer // 2] = 0
        row = {
            "input_ids": ids,
            "position_ids": torch.arange(length),
            "prompts": ids[:prompt],
            "responses": ids[prompt:],
            "response_mask": mask,
            "loss_mask": mask,
            "old_log_probs": -torch.rand(answer),
            "ref_log_prob": -torch.rand(answer),
            "advantages": torch.randn(answer) * mask,
            term_column(0): (1.0 - mask) / tokens,
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def main() -> None:
    """Build the worker, allocate what the engine would, update once."""
    folder, overrides = arguments()
    config = load_config(REINFORCEMENT, folder, overrides)
    _, rank, world = initialize_global_process_group()
    worker, actor = worker_of(config)
    data = config.data
    tokens = actor.ppo_max_token_len_per_gpu
    columns = longest_rows(
        tokens, data.max_prompt_length, data.max_response_length, worker.model_config.hf_config.vocab_size
    )
    rows = len(columns["input_ids"])
    device: Any = get_device_id()
    held = torch.empty(ENGINE_RESIDUE if config.trainer.device == "cuda" else 0, dtype=torch.uint8, device=device)
    loss = partial(actor_loss, omega_conf_to_dataclass(actor))
    model = config.actor_rollout_ref.model
    batch = update_batch(
        columns,
        **{TERMS: json.dumps([["hint_nll", config.uft.settings.sft_loss_coef, ""]])},
        global_batch_size=rows * world,
        max_token_len_per_gpu=tokens,
        use_remove_padding=model.use_remove_padding,
        use_fused_kernels=model.use_fused_kernels,
    )
    with worker.engine.train_mode():
        worker.engine.train_batch(batch, loss_function=loss)
    del held
    if rank == 0:
        Records(folder, 1).phase("finished", 1)
    destroy_global_process_group()


if __name__ == "__main__":
    main()
