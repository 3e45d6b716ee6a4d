"""The settings of an evaluation, and the problems they select from a file in our schema."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.schema import IN_SET, plain, unpacked
from data_prep.split import chosen_rows


class EvaluationError(ValueError):
    """An evaluation that cannot be done as requested."""


@dataclass(frozen=True)
class Settings:
    """What defines an evaluation: equal settings give equal items."""

    model: str
    """Hugging Face name or folder of the full weights."""

    adapter: str | None
    """LoRA adapter on top of them."""

    data: str
    """Parquet file in our schema, with prompts in the style below."""

    data_hash: str
    """Hash of its rows."""

    sources: tuple[str, ...]
    """Only rows of these data sources; empty is all."""

    prompt_style: str
    """How its prompts are written, and where answers are."""

    reward: str | None
    """A reward's name or path.py:function; None goes by data_source."""

    n_samples: int
    """Answers per problem."""

    temperature: float
    """0 is greedy."""

    top_p: float
    """Nucleus sampling."""

    max_prompt_length: int
    """The context is this plus the next, or more if a prompt is longer."""

    max_response_length: int
    """Maximum tokens per answer."""

    limit: int
    """Number of problems (data_prep.split.chosen_rows); -1 is all."""

    seed: int
    """For sampling."""

    dtype: str
    """Precision of the engine."""

    @property
    def greedy_beside(self) -> bool:
        """Whether every problem also gets a greedy answer: if the others are sampled."""
        return self.temperature > 0

    @property
    def hash(self) -> str:
        """Eight hex digits that identify these settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Problem:
    """A row to answer."""

    number: int
    messages: list[dict[str, str]]
    data_source: str
    ground_truth: Any
    group: str | None
    twin: int = 0
    """How many earlier rows of the file have the same prompt."""


def load_problems(settings: Settings) -> list[Problem]:
    """The problems of the file that the settings select."""
    import pyarrow.parquet as parquet

    rows = parquet.read_table(settings.data, columns=["prompt", "data_source", "reward_model", "extra_info"])
    asked: Counter[str] = Counter()
    problems = [
        Problem(
            number,
            row["prompt"],
            row["data_source"],
            plain(unpacked(row["reward_model"]["ground_truth"])),
            group_of(row["data_source"], unpacked(row["reward_model"]["ground_truth"])),
            _before(asked, json.dumps(row["prompt"])),
        )
        for number, row in enumerate(rows.to_pylist())
        if not settings.sources or row["data_source"] in settings.sources
    ]
    if not problems:
        raise EvaluationError(f"{settings.data}: has no problems of {', '.join(settings.sources) or 'any source'}")
    return [problems[row] for row in chosen_rows(len(problems), settings.limit)]


def _before(seen: Counter[str], text: str) -> int:
    seen[text] += 1
    return seen[text] - 1


def group_of(data_source: str, ground_truth: Any) -> str | None:
    """The part of a benchmark that a problem belongs to: by its number of people or numbers, or its subject."""
    data_source = data_source.partition(IN_SET)[0]
    if data_source == "kk_logic":
        return f"{len(ground_truth['names'])} people"
    if data_source == "countdown":
        return f"{len(ground_truth['numbers'])} numbers"
    return ground_truth.get("subject") if isinstance(ground_truth, dict) else None
