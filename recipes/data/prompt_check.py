"""Refuses a --max_prompt_length below all prompts of a data set: verl drops longer prompts and crashes without any."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from data_prep.split import rows_by_chance
from recipes.common.errors import ExperimentError
from recipes.data.solution_check import file_name
from recipes.settings.experiment import Experiment

_TRIED = 64
"""Number of shortest prompts, by characters, that are tokenised; others are (nearly always) longer in tokens too."""

_COUNTED = 256
"""Prompts sampled from the file to estimate the share that is too long."""


def refuse_long_prompts(experiment: Experiment, files: tuple[Path, ...], tokenizer: Any) -> None:
    """Refuse a run that would train or validate on no prompt of some data source; otherwise print the share skipped.

    Args:
        tokenizer: encodes the messages' texts; a chat template makes prompts even longer.

    Raises:
        ExperimentError: with the length of the shortest prompt.
    """
    if tokenizer is None or "rl" not in experiment.stages:
        return
    given = limit = experiment.max_prompt_length

    def length(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    for file in files:
        rows = parquet.ParquetFile(file).read(columns=["prompt", "data_source"])
        texts = ["".join(message["content"] for message in prompt) for prompt in rows["prompt"].to_pylist()]
        by_source = defaultdict(list)
        for source, text in zip(rows["data_source"].to_pylist(), texts, strict=True):
            by_source[source].append(text)
        name = file_name(experiment, file)
        for source, its_texts in by_source.items():
            shortest = min(map(length, sorted(its_texts, key=len)[:_TRIED]))
            if shortest > limit:
                what = name if len(by_source) == 1 else f"{source} in {name}"
                raise ExperimentError(
                    f"--max_prompt_length {given}: the shortest prompt of {what} has {shortest} tokens with the "
                    f"tokenizer of {experiment.model}, and verl drops longer ones, so none would remain; increase it, "
                    "or give the --model that these texts are for"
                )
        drawn = [texts[row] for row in rows_by_chance(len(texts))[:_COUNTED]]
        if too_long := sum(len(text) > limit and length(text) > limit for text in drawn):
            print(
                f"--max_prompt_length {given}: {too_long} of {len(drawn)} prompts sampled from {name} are longer and "
                f"will be skipped"
            )
