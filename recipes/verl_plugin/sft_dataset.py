"""Rows of our schema as supervised samples, with the prompt text, template and tokens of reinforcement stages."""

from typing import Any

import pandas as pd
import torch
from torch.utils.data import Dataset

from data_prep.tokens import closed, encode_question, opened


def encode_solution(
    tokenizer: Any, prompt: list[dict[str, str]], answer: str, template: str | None = None
) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and of its solution with the end-of-text token.

    Prompt and solution are encoded separately, as in a rollout: the prompt first, then tokens of the response.
    `template` replaces the tokenizer's own chat template.
    """
    thought = opened(tokenizer, prompt, chat_template=template)
    return encode_question(tokenizer, prompt, chat_template=template), closed(tokenizer, answer, thought)


class SolutionDataset(Dataset):
    """The interface of verl's `data.custom_cls`: rows of {input_ids, position_ids, loss_mask}, unpadded.

    Rows longer than data.max_length are skipped and counted, never truncated: a truncated row would teach an answer
    without its end.
    """

    def __init__(
        self, parquet_files: str | list[str], tokenizer: Any, config: Any, processor: Any = None, max_samples: int = -1
    ) -> None:
        files = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        frame = pd.concat([pd.read_parquet(file, columns=["prompt", "answer"]) for file in files], ignore_index=True)
        if 0 < max_samples < len(frame):
            frame = frame.iloc[:max_samples]
        template = config.apply_chat_template_kwargs.chat_template
        self.rows = []
        for prompt, answer in zip(frame["prompt"], frame["answer"], strict=True):
            sample = encode_solution(tokenizer, [dict(message) for message in prompt], answer, template)
            if len(sample[0]) + len(sample[1]) <= config.max_length:
                self.rows.append(sample)
        dropped = len(frame) - len(self.rows)
        if dropped:
            print(f"{dropped} of {len(frame)} rows of {files} are longer than {config.max_length} tokens: skipped")
        if not self.rows:
            raise ValueError(f"no row of {files} fits in {config.max_length} tokens; raise the length limits")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        prompt_ids, answer_ids = self.rows[index]
        length = len(prompt_ids) + len(answer_ids)
        return {
            "input_ids": torch.tensor(prompt_ids + answer_ids),
            "position_ids": torch.arange(length),
            "loss_mask": torch.tensor([0] * len(prompt_ids) + [1] * len(answer_ids)),
        }
