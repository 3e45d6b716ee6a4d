"""Reward functions by task: `compute_score` picks the one for a row and returns its verdict as numbers.
It has the signature of verl's custom reward functions and imports no trainer."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from data_prep.schema import unpacked
from reward_fns.registry import (
    RANDOM,
    REWARDS,
    SOURCES,
    AnswerFormat,
    LimitReached,
    is_custom,
    is_graded,
    is_quick,
    load_custom,
    reward_for,
    told_when_slow,
)
from reward_fns.verdict import reason
from run import enter_environment_of_module

enter_environment_of_module()

logger = logging.getLogger(__name__)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Any = None,
    *,
    reward: str | None = None,
    answer_format: AnswerFormat = "tags",
    **kwargs: Any,
) -> dict[str, float | str]:
    """Scores one response (without its prompt); the keys of the result are always the same.

    score: 1.0 correct, 0.1 readable but wrong, 0.0 otherwise. acc: 1.0 if correct. format: 1.0 if there was a readable
    answer. parse_fail: 1.0 if not. partial: the correct share of the answer, only a metric. pred: the answer as read.
    reward_error: 1.0 if scoring itself failed (malformed ground truth, a bug in our code or a user's reward).
    timeout: 1.0 if the verifier hit its time or memory limit. In these two cases all others are 0.0, and pred says what
    happened.

    Args:
        reward: a reward's name or a user's "path.py:function"; None goes by data_source. "random" judges by data_source
            but scores 1 or 0 at random, independently of correctness.
        answer_format: "tags" or "boxed", see recipes' --prompt_style.
        extra_info: its `question` is the question asked, for users' rewards that take three texts.

    Raises ValueError for an unknown data_source or reward: the configuration is wrong, and no row could be scored.
    """
    if reward == RANDOM:
        found = compute_score(data_source, solution_str, ground_truth, extra_info, answer_format=answer_format)
        return {**found, "score": float(not has_failed(found) and _coin(solution_str, ground_truth))}
    judge = reward_for(data_source, reward, answer_format, question=(extra_info or {}).get("question") or "")
    try:
        verdict = judge(solution_str, unpacked(ground_truth))
    except LimitReached as limit:
        return {**_NO_VERDICT, "timeout": 1.0, "pred": str(limit)}
    except Exception as error:  # one bad row must not end a run; it is counted and reported instead
        message = reason(error)
        _warn_once(reward or data_source, message)
        return {**_NO_VERDICT, "reward_error": 1.0, "pred": message}
    return {
        **_NO_VERDICT,
        "score": verdict.score,
        "acc": float(verdict.correct),
        "format": float(verdict.readable),
        "parse_fail": float(not verdict.readable),
        "partial": 1.0 if verdict.correct else verdict.partial,
        "pred": verdict.pred,
    }


_NO_VERDICT = dict.fromkeys(("score", "acc", "format", "parse_fail", "partial", "reward_error", "timeout"), 0.0)

LEAST_ACCEPTED = 0.9
"""Least share of the data's own solutions that a reward must accept: with fewer, nothing would be learned."""

SIGNS = ("reward_error", "timeout")
"""Keys of a result that mark a failed verdict."""


def has_failed(verdict: Mapping[str, Any]) -> bool:
    """Whether an answer could not be scored."""
    return any(verdict.get(sign) for sign in SIGNS)


def _coin(response: str, ground_truth: Any) -> bool:
    """Heads for half of the answers to a problem, the same in every process."""
    told = f"{response}|{ground_truth}".encode("utf-8", "backslashreplace")
    return hashlib.blake2b(told, digest_size=1).digest()[0] < 128


@lru_cache(maxsize=256)
def _warn_once(source: str, message: str) -> None:
    logger.warning("the %s reward failed and gave 0.0: %s", source, message)


__all__ = [
    "LEAST_ACCEPTED",
    "RANDOM",
    "REWARDS",
    "SIGNS",
    "SOURCES",
    "compute_score",
    "has_failed",
    "is_custom",
    "is_graded",
    "is_quick",
    "load_custom",
    "told_when_slow",
]
