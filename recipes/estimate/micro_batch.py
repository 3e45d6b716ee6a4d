"""Micro-batches of trainings on answers: by default the usual number of rows, and fewer where they would not fit."""

from collections.abc import Container
from dataclasses import replace

from recipes.estimate.memory import estimate_memory
from recipes.estimate.model_shapes import known_shape
from recipes.settings.experiment import Experiment

ADAPTERS = 32
"""Rank of adapters where a profile's cards have no room for all weights of its own model."""


def with_rows(experiment: Experiment, rows: int) -> Experiment:
    """The experiment with that many rows in a micro-batch."""
    return replace(experiment, alignment=replace(experiment.alignment, micro_batch_size=rows))


def with_adapters(experiment: Experiment) -> Experiment:
    """The experiment with adapters in place of all weights."""
    a = replace(experiment.alignment, lora_alpha=2 * ADAPTERS)
    return replace(experiment, lora_rank=ADAPTERS, alignment=a)


def smaller(experiment: Experiment) -> list[Experiment]:
    """The experiment, and with fewer rows in a micro-batch, the most first; what a device gets of a step is kept."""
    a = experiment.alignment
    share = max(1, a.batch_size // experiment.n_gpu)
    fewer = [rows for rows in range(a.micro_batch_size - 1, 0, -1) if share % rows == 0]
    return [experiment, *(with_rows(experiment, rows) for rows in fewer)]


def fits(experiment: Experiment, limit: float = 0.0) -> bool:
    """Whether it fits a device of its profile, or `limit` bytes, by the estimate; True where nothing is known."""
    shape = known_shape(experiment.model)
    if shape is None:
        return True
    found = estimate_memory(experiment, shape)
    return found.peak <= (limit or found.limit or float("inf"))


def fitted(experiment: Experiment, given: Container[str]) -> Experiment:
    """A training on answers with defaults that fit its device; what was given stays as it is.

    Fewer rows in a micro-batch change nothing that is learned. Adapters do, and are the default where a profile's own
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
