"""Which reward function judges which rows: by the name in --reward, else by the row's data_source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal

from data_prep.schema import IN_SET
from reward_fns import chain, choice, countdown, free_text
from reward_fns.custom import CustomVerdict
from reward_fns.kk_logic import reward as kk_logic
from reward_fns.pool import IMPORT_SECONDS, Outcome, shared_pool
from reward_fns.verdict import Told, Verdict

AnswerFormat = Literal["tags", "boxed"]
# Formulas that people write are compared in milliseconds; those that take longer do so on purpose. CPU seconds, so that
# a busy machine does not reject correct answers.
MATH_CPU_SECONDS = 1.5
Score = Callable[[str, Any], Verdict | CustomVerdict]

# The data sources of our files and of the UFT repository's.
SOURCES = {
    "chain": "chain",
    "chain_longer": "chain",
    "countdown": "countdown",
    "kk_logic": "kk_logic",
    "math": "math",
    "DigitalLearningGmbH/MATH-lighteval": "math",
    "openai/gsm8k": "math",
    "gsm8k": "math",
    "aime": "math",
    "aime24": "math",
    "aime25": "math",
    "amc": "math",
    "math500": "math",
    "minerva": "math",
    "olympiad_bench": "math",
    "vnhsge": "choice",
    "general_knowledge": "free_text",
}
_BY_TAGS: dict[str, ModuleType] = {
    "chain": chain,
    "countdown": countdown,
    "kk_logic": kk_logic,
    "choice": choice,
    "free_text": free_text,
}
REWARDS = (*_BY_TAGS, "math")
RANDOM = "random"
"""A control for any task: the task's own verdict, but a score of 0 or 1 by a hash of answer and problem."""
_SLOW_SECONDS = 3.0
"""Waits longer than this are announced."""

_IS_GRADED = "reward_fns.custom:is_graded"


class LimitReached(Told):
    """A verifier hit its time or memory limit."""


class VerifierFailed(Told):
    """A verifier raised or died."""


def reward_for(
    data_source: str, reward: str | None = None, answer_format: AnswerFormat = "tags", question: str = ""
) -> Score:
    """The function that judges rows of `data_source`.

    Args:
        reward: a name in REWARDS or a user's "path.py:function"; None goes by data_source.
        answer_format: where the final answer is: in answer tags, or in \\boxed{} (mathematics only).
        question: the question asked, for users' rewards that need it.

    Raises:
        ValueError: for an unknown source or reward: the configuration is wrong, and no row could be scored.
    """
    if reward is not None and is_custom(reward):
        return lambda response, ground_truth: _custom(reward, response, ground_truth, question, data_source)
    name = reward or known_source(data_source)
    if name is None or name not in REWARDS:
        if reward is not None:
            raise ValueError(f"no reward {reward!r}; known: {', '.join(REWARDS)}, or path/to/file.py:function")
        raise ValueError(
            f"no reward function for data_source {data_source!r}; known: {', '.join(sorted(SOURCES))}; "
            "or name one with --reward"
        )
    if name == "math":
        # Imported here because it takes a quarter of a second, and the names of rewards are needed without it.
        from reward_fns.math import reward as math

        return lambda response, truth: math.score(response, truth, verify=verify, answer_format=answer_format)
    if answer_format != "tags":
        raise ValueError(f"the {name} reward reads its answer from <answer> tags only; choose another --prompt_style")
    score: Score = _BY_TAGS[name].score
    return score


def known_source(data_source: str) -> str | None:
    """The reward for a data_source, whichever validation set its rows belong to; None if there is none."""
    return SOURCES.get(data_source.partition(IN_SET)[0])


def check_ground_truth(reward: str, ground_truth: Any) -> None:
    """Raises ValueError if a reward of REWARDS cannot use a ground truth."""
    if reward == "math":
        from reward_fns.math import reward as math

        math.read_ground_truth(ground_truth)
    else:
        _BY_TAGS[reward].read_ground_truth(ground_truth)


def verify(answer: str, gold: str) -> dict[str, Any]:
    """Are two mathematical answers equal? By cheap rules if they can tell, else in a killable worker process."""
    from reward_fns.math.equal import quick

    settled = quick(answer, gold)
    if settled is not None:
        return settled
    outcome = shared_pool().call("reward_fns.math.worker:equivalent", answer, gold, cpu_seconds=MATH_CPU_SECONDS)
    found: dict[str, Any] = _value(outcome)
    return found


def load_verifier(reward: str) -> None:
    """Loads what some verdicts of a reward need, which takes seconds, before verdicts are timed."""
    if reward == "math":
        verify("1", r"\int_0^1 2x\,dx")


def is_custom(reward: str | None) -> bool:
    """Whether --reward names a function in a user's file."""
    return reward is not None and ".py:" in reward


def is_quick(data_source: str, reward: str | None = None) -> bool:
    """Whether rows of `data_source` are judged in microseconds and in this process."""
    return (known_source(data_source) if reward in (None, RANDOM) else reward) in _BY_TAGS


def is_graded(reward: str | None) -> bool:
    """Whether no score means "correct": for a user's file that says GRADED = True. Loads it in a worker process."""
    return reward is not None and is_custom(reward) and load_custom(reward)


def load_custom(reward: str) -> bool:
    """Loads a user's file in a worker, which is killed if it hangs; returns whether it is graded.

    Raises:
        LimitReached, VerifierFailed: it cannot be loaded, or has no such reward.
    """
    with told_when_slow(reward):
        outcome = shared_pool().call(_IS_GRADED, reward, seconds=IMPORT_SECONDS)
    try:
        return bool(_value(outcome))
    except LimitReached as limit:
        raise LimitReached(f"{reward}: {limit} of loading the file") from None


@contextmanager
def told_when_slow(reward: str | None) -> Iterator[None]:
    """Says after a few seconds that a user's reward is being waited for, which may take its limits added together."""
    if not is_custom(reward):
        yield
        return
    limits = f"loading it may take {IMPORT_SECONDS:g} s, a verdict {shared_pool().seconds:g} s"
    timer = threading.Timer(_SLOW_SECONDS, print, [f"waiting for --reward {reward} ({limits})"], {"flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _custom(spec: str, response: str, ground_truth: Any, question: str, data_source: str) -> CustomVerdict:
    found = _value(shared_pool().call(spec, response, ground_truth, question, data_source))
    return CustomVerdict(**found)


def _value(outcome: Outcome) -> Any:
    if outcome.status in ("timeout", "memory"):
        raise LimitReached(outcome.message)
    if outcome.status == "error":
        raise VerifierFailed(outcome.message)
    return outcome.value
