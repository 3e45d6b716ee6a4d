"""Refuses lengths that no prompt keeps to: verl drops what is longer, and a run without a prompt ends in its depths."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from recipes.common.errors import ExperimentError
from recipes.data.solution_check import file_name
from recipes.settings.experiment import Experiment

_TRIED = 64
"""Shortest prompts, by characters, that are looked at; others are longer in tokens too, or nearly so."""


def refuse_long_prompts(experiment: Experiment, files: tuple[Path, ...], tokenizer: Any) -> None:
    """Refuse a run whose training or validation would be left without a prompt.

    Args:
        tokenizer: encodes the messages' texts; a chat template makes prompts longer still.

    Raises:
        ExperimentError: with the length of the shortest prompt.
    """
    if tokenizer is None or "rl" not in experiment.stages:
        return
    for file in files:
        prompts = parquet.ParquetFile(file).read(columns=["prompt"])["prompt"].to_pylist()
        texts = sorted(("".join(message["content"] for message in prompt) for prompt in prompts), key=len)[:_TRIED]
        shortest = min((len(tokenizer(text)["input_ids"]) for text in texts), default=0)
        if shortest > experiment.prompt_length:
            name = file_name(experiment, file)
            raise ExperimentError(
                f"--max_prompt_length {experiment.max_prompt_length}: the shortest prompt of {name} has {shortest} "
                f"tokens, and verl drops longer ones, so that none would be left; give more"
            )
