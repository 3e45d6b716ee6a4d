"""What training made a model forget: by how much less likely it finds texts of the base it was trained from.

A base's own texts are next to its weights (`own_texts.jsonl`: {"prompt", "completion"} per line, like those it was
pre-trained on), or it generates them itself from the beginning-of-text token alone.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.own_texts import FILE

LONGEST = 64
"""Tokens per text that the base generates."""

_BATCH = 32

Row = tuple[list[int], list[int]]
"""Token ids of a prompt and of its completion."""

More = Callable[[int], None]
"""Told how many texts are done after the last call."""


def _untold(texts: int) -> None:
    pass


@dataclass(frozen=True)
class Forgetting:
    """Nats per token of the base's own texts."""

    base: float
    """-log pi_base."""

    trained: float
    """-log pi."""

    texts: int
    written: bool
    """Whether the base generated them, rather than read from a file next to its weights."""

    @property
    def nats(self) -> float:
        """By how much less likely a token became; for texts the base wrote, an estimate of KL(pi_base || pi)."""
        return self.trained - self.base


def measure(
    base: str,
    trained: str,
    *,
    count: int,
    seed: int,
    device: str,
    dtype: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Forgetting:
    """Compare two folders (or hub names) of weights on `count` texts, with one model in memory at a time.

    Args:
        progress: told how many texts of how many were written or read so far, each once by each model that does.

    Raises:
        ValueError: for a malformed line in the file of texts.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def load(path: str) -> Any:
        return AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).to(device).eval()

    tokenizer, model = AutoTokenizer.from_pretrained(base), load(base)
    stored = Path(base) / FILE
    written = not stored.exists()
    kept = [] if written else read(stored, tokenizer, count)
    total, done = 3 * count if written else 2 * len(kept), 0

    def more(texts: int) -> None:
        nonlocal done
        done += texts
        progress(done, total)

    more(0)
    rows = write(model, tokenizer, count, seed, more) if written else kept
    before = nll(model, rows, more)
    del model
    return Forgetting(before, nll(load(trained), rows, more), len(rows), written)


def read(file: Path, tokenizer: Any, count: int) -> list[Row]:
    """The first `count` texts of a file.

    Raises:
        ValueError: for a line that is not {"prompt": text, "completion": text}; names the line.
    """
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n")[:-1][:count], 1):
        try:
            text = json.loads(line)
            asked, answer = (tokenizer.encode(text[name]) for name in ("prompt", "completion"))
        except (ValueError, TypeError, KeyError):
            raise ValueError(f'{file}, line {number}: must be {{"prompt": text, "completion": text}}') from None
        rows.append((asked, [*answer, tokenizer.eos_token_id]))
    return rows


@torch.no_grad()
def write(model: Any, tokenizer: Any, count: int, seed: int, more: More = _untold) -> list[Row]:
    """Texts that a model samples at temperature 1 after the beginning-of-text token."""
    from transformers import GenerationConfig

    end = tokenizer.eos_token_id
    start = end if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    # Not the model's own configuration, which may exclude unlikely tokens.
    how = GenerationConfig(
        do_sample=True, top_k=0, top_p=1.0, max_new_tokens=LONGEST, eos_token_id=end, pad_token_id=end
    )
    torch.manual_seed(seed)
    rows: list[Row] = []
    told = 0

    def tell(now: int) -> None:
        nonlocal told
        more(now - told)
        told = now

    def token(ids: torch.Tensor, _: Any, **__: Any) -> torch.Tensor:
        """Asked after every token whether a generation stops: counts the texts as they grow."""
        tell(len(rows) + len(ids) * (ids.shape[1] - 1) // LONGEST)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    while len(rows) < count:
        begun = torch.full((min(_BATCH, count - len(rows)), 1), start, device=model.device)
        drawn = model.generate(
            begun, attention_mask=torch.ones_like(begun), generation_config=how, stopping_criteria=[token]
        )
        for text in drawn[:, 1:].tolist():
            rows.append(([start], text[: text.index(end) + 1] if end in text else text))
        tell(len(rows))
    return rows


@torch.no_grad()
def log_probs(model: Any, rows: list[Row], batch: int = _BATCH, more: More = _untold) -> torch.Tensor:
    """log pi(completion | prompt) of each row in nats, (rows,), float64."""
    found = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        longest = max(len(asked) + len(answer) for asked, answer in part)
        ids = torch.zeros(len(part), longest, dtype=torch.long, device=model.device)
        mask = torch.zeros(len(part), longest - 1, dtype=torch.float64, device=model.device)
        for number, (asked, answer) in enumerate(part):
            ids[number, : len(asked) + len(answer)] = torch.tensor([*asked, *answer])
            mask[number, len(asked) - 1 : len(asked) + len(answer) - 1] = 1
        # Padding is after the text, where a causal model does not look.
        logits = model(input_ids=ids).logits[:, :-1].float()
        chosen = -torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        found.append((chosen.view_as(mask).double() * mask).sum(-1).cpu())
        more(len(part))
    return torch.cat(found)


def nll(model: Any, rows: list[Row], more: More = _untold) -> float:
    """Mean -log pi per completion token."""
    return float(-log_probs(model, rows, more=more).sum() / sum(len(answer) for _, answer in rows))
