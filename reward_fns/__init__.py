"""Reward functions by task: `compute_score` finds the one for a row's data_source and returns its score as numbers.
It has the signature verl asks of a custom reward function, and imports no trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from reward_fns import countdown
from reward_fns.verdict import SCORE_UNREADABLE, Verdict

logger = logging.getLogger(__name__)

REWARDS: dict[str, Callable[[str, Any], Verdict]] = {"countdown": countdown.score}


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None, **kwargs: Any
) -> dict[str, float | str]:
    """Scores one response (no prompt inside) and always returns the same keys:

    score: 1.0 correct, 0.1 readable but wrong, 0.0 otherwise. acc: 1.0 if correct. format: 1.0 if a readable answer
    was given. parse_fail: 1.0 if not. reward_error: 1.0 if scoring itself failed (malformed ground truth, a bug of
    ours); then score, acc, format and parse_fail are 0.0 and pred holds the error. pred: what was read.

    Raises ValueError for an unknown data_source: that is a wrong configuration, and no row of the run could be scored.
    """
    if data_source not in REWARDS:
        raise ValueError(f"no reward function for data_source {data_source!r}; known: {', '.join(sorted(REWARDS))}")
    try:
        verdict = REWARDS[data_source](solution_str, ground_truth)
    except Exception as error:  # one bad row must not end a run; it is counted and shown instead
        message = f"{type(error).__name__}: {error}"[:500]
        _warn_once(data_source, message)
        return _result(SCORE_UNREADABLE, pred=message, reward_error=1.0)
    return _result(
        verdict.score,
        acc=float(verdict.correct),
        format=float(verdict.readable),
        parse_fail=float(not verdict.readable),
        pred=verdict.pred,
    )


def _result(
    score: float,
    pred: str,
    acc: float = 0.0,
    format: float = 0.0,
    parse_fail: float = 0.0,
    reward_error: float = 0.0,
) -> dict[str, float | str]:
    return {
        "score": score,
        "acc": acc,
        "format": format,
        "parse_fail": parse_fail,
        "reward_error": reward_error,
        "pred": pred,
    }


@lru_cache(maxsize=256)
def _warn_once(data_source: str, message: str) -> None:
    logger.warning("the %s reward failed and gave 0.0: %s", data_source, message)
