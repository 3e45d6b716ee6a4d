"""Groups made by hand: rollouts of given and generated tokens, a demonstration behind them."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import torch

from recipes.algorithms.base import Algorithm, Bare, Demonstration, Group, Plan


def settings(algorithm: Algorithm | None = None, **changed: Any) -> SimpleNamespace:
    """`s` as the framework hands it over: the defaults, the algorithm's options over them."""
    s: dict[str, Any] = {
        "T_hint": 200,
        "sft_loss_coef": 0.001,
        "hint_nll_agg": "token-mean",
        "beta": 0.03,
        "una_target": "sigmoid",
        "n_rollout": 4,
        "max_response_length": 8,
        "response_length": 16,
    }
    if algorithm is not None and is_dataclass(algorithm.options):
        s |= {each.name: each.default for each in fields(algorithm.options)}
    return SimpleNamespace(**(s | changed))


def group(
    scores: Sequence[float],
    *,
    ok: Sequence[bool] | None = None,
    given: Sequence[int] | int = 0,
    generated: Sequence[int] | int = 2,
    demo: int = 0,
    plans: Sequence[Plan] | None = None,
    **known: Any,
) -> Group:
    """Rollouts with these scores, and a demonstration of `demo` tokens (0: none), score 1, as the last row.

    ok: of the rollouts. Tokens of a row whose verdict failed are neither given nor generated, as in the trainer.
    given, generated: tokens of each rollout. Everything else goes to Group as it is.
    """
    n, shown = len(scores), int(demo > 0)
    verdicts = [True] * n if ok is None else list(ok)
    starts = [given] * n if isinstance(given, int) else list(given)
    lengths = [generated] * n if isinstance(generated, int) else list(generated)
    width = max(*(a + b for a, b in zip(starts, lengths, strict=True)), demo, 1)
    place = torch.arange(width)
    has = torch.tensor([*verdicts, *[True] * shown]).unsqueeze(-1)
    first = torch.tensor([*starts, *[0] * shown]).unsqueeze(-1)
    end = first + torch.tensor([*lengths, *[0] * shown]).unsqueeze(-1)
    demos = torch.zeros(n + shown, width, dtype=torch.bool)
    demos[n:, :demo] = True
    values: dict[str, Any] = {
        "old": torch.full((n + shown, width), -0.5),
        "entropy": torch.full((n + shown, width), 1.0),
        "rescored": torch.full((n + shown, width), -0.5),
        "key": "q",
        "step": 1,
        "segments": 5,
        "messages": ({"role": "user", "content": "What is 1 + 1?"},),
        "solution": "It is 2.",
        "texts": tuple(f"answer {row}" for row in range(n)) + ("It is 2.",) * shown,
    }
    return Group(
        scores=torch.tensor([*scores, *[1.0] * shown]) * has[:, 0],
        ok=has[:, 0],
        plans=(*(plans or (Bare(),) * n), *(Demonstration(),) * shown),
        given=(place < first) & has,
        gen=(place >= first) & (place < end) & has,
        demo=demos,
        **(values | known),
    )
