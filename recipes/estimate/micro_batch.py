"""Micro-batch sizes for training on answers: the default number of rows, or fewer if they would not fit."""

from collections.abc import Container
from dataclasses import replace

from recipes.estimate.memory import estimate_memory
from recipes.estimate.model_shapes import known_shape
from recipes.settings.experiment import Experiment

ADAPTERS = 32
"""Rank of adapters if a profile's cards cannot train all weights of its own model."""


def with_rows(experiment: Experiment, rows: int) -> Experiment:
    """The experiment with that many rows per micro-batch."""
    return replace(experiment, alignment=replace(experiment.alignment, micro_batch_size=rows))


def with_adapters(experiment: Experiment) -> Experiment:
    """The experiment training adapters instead of all weights."""
    a = replace(experiment.alignment, lora_alpha=2 * ADAPTERS)
    return replace(experiment, lora_rank=ADAPTERS, alignment=a)


def smaller(experiment: Experiment) -> list[Experiment]:
    """The experiment, then with ever fewer rows per micro-batch that divide a device's share of a step."""
    a = experiment.alignment
    share = max(1, a.batch_size // experiment.n_gpu)
    fewer = [rows for rows in range(a.micro_batch_size - 1, 0, -1) if share % rows == 0]
    return [experiment, *(with_rows(experiment, rows) for rows in fewer)]


def fits(experiment: Experiment, limit: float = 0.0) -> bool:
    """Whether it fits its profile's device, or `limit` bytes, by the estimate; True if the model is unknown."""
    shape = known_shape(experiment.model)
    if shape is None:
        return True
    found = estimate_memory(experiment, shape)
    return found.peak <= (limit or found.limit or float("inf"))


def fitted(experiment: Experiment, given: Container[str]) -> Experiment:
    """Adjust the defaults of training on answers to fit its device; settings that were given are kept.

    Fewer rows per micro-batch do not change what is learned. Adapters do, and are the default only if a profile's own
    model does not fit otherwise.
    """
    e = experiment
    if e.stages != ("alignment",) or e.device != "cuda":
        return e
    sizes = [e] if "micro_batch_size" in given else smaller(e)
    least = sizes[-1]
    if not e.lora_rank and not any(name in given for name in ("lora_rank", "model", "micro_batch_size", "max_length")):
        sizes += [with_adapters(each) for each in sizes]
    return next(filter(fits, sizes), least)
