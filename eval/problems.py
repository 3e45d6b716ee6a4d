"""What an evaluation asks: its settings, and the problems they choose from a file of our schema."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.schema import IN_SET, plain, unpacked
from data_prep.split import chosen_rows


class EvaluationError(ValueError):
    """An evaluation that cannot be done as asked."""


@dataclass(frozen=True)
class Settings:
    """What defines an evaluation: two with equal settings give equal items."""

    model: str
    """Hugging Face name or folder of the full weights."""

    adapter: str | None
    """LoRA adapter on top of them."""

    data: str
    """Parquet file of our schema, in the prompt style below."""

    data_hash: str
    """Of its rows."""

    sources: tuple[str, ...]
    """Only rows of these data sources; empty is all."""

    prompt_style: str
    """How its prompts are written, and where answers stand."""

    reward: str | None
    """A reward's name or path.py:function; None goes by data_source."""

    n_samples: int
    """Answers per problem."""

    temperature: float
    """0 is greedy."""

    top_p: float
    """Nucleus sampling."""

    max_prompt_length: int
    """Context is this plus the next, or more if a prompt is longer."""

    max_response_length: int
    """Most tokens of an answer."""

    limit: int
    """So many problems (data_prep.split.chosen_rows); -1 is all."""

    seed: int
    """Of sampling."""

    dtype: str
    """Precision of the engine."""

    @property
    def greedy_beside(self) -> bool:
        """Whether every problem gets a greedy answer as well: where the others are sampled."""
        return self.temperature > 0

    @property
    def hash(self) -> str:
        """Eight hex digits naming these settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Problem:
    """A row to be answered."""

    number: int
    messages: list[dict[str, str]]
    data_source: str
    ground_truth: Any
    group: str | None
    twin: int = 0
    """How many rows before it in the file ask the same."""


def load_problems(settings: Settings) -> list[Problem]:
    """The problems of the file that the settings ask for."""
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
        raise EvaluationError(f"{settings.data}: no problems of {', '.join(settings.sources) or 'any source'} in it")
    return [problems[row] for row in chosen_rows(len(problems), settings.limit)]


def _before(seen: Counter[str], text: str) -> int:
    seen[text] += 1
    return seen[text] - 1


def group_of(data_source: str, ground_truth: Any) -> str | None:
    """The part of a benchmark that a problem belongs to: how many people or numbers, which subject."""
    data_source = data_source.partition(IN_SET)[0]
    if data_source == "kk_logic":
        return f"{len(ground_truth['names'])} people"
    if data_source == "countdown":
        return f"{len(ground_truth['numbers'])} numbers"
    return ground_truth.get("subject") if isinstance(ground_truth, dict) else None
