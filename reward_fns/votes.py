"""Which of several answers to one problem are the same, as counted by a majority vote.

votes("countdown", ["1 + 2", "2 + 1", None, "7"], [1, 1, 0, 0], {"numbers": [1, 2], "target": 3})   [0, 0, None, 3]
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from reward_fns.choice import LETTERS, USUAL_OPTIONS, read_choice
from reward_fns.countdown import read_value
from reward_fns.free_text import normalise
from reward_fns.kk_logic.reader import read_roles
from reward_fns.kk_logic.reward import read_ground_truth
from reward_fns.registry import LimitReached, VerifierFailed, known_source, verify


def votes(
    data_source: str,
    answers: Sequence[str | None],
    correct: Sequence[float],
    ground_truth: Any,
    *,
    reward: str | None = None,
) -> list[int | None]:
    """For each answer the position of the first one equal to it; None for one that could not be read.

    Countdown expressions are compared by value, mathematics by its reward (in a killable process where only a symbolic
    verifier can tell), letters, roles and words as read, answers to other rewards as text.

    Args:
        answers: the texts as read (`pred` of a verdict); None has no vote.
        correct: their verdicts. Correct mathematical answers all equal the known one, and no wrong one does.
    """
    name = reward or known_source(data_source)
    first: dict[Hashable, int] = {}
    found: list[int | None] = []
    for place, answer in enumerate(answers):
        if answer is None:
            found.append(None)
            continue
        key: Hashable
        if name == "math":
            key = "right" if correct[place] else ("wrong", answer)
            if key not in first and not correct[place]:
                known = (place for kind, place in first.items() if kind != "right")
                first[key] = next((other for other in known if _equal(answer, str(answers[other]))), place)
        else:
            key = _key(name, answer, ground_truth)
        found.append(first.setdefault(key, place))
    return found


def _key(name: str | None, answer: str, ground_truth: Any) -> Hashable:
    """A key that is equal for equal answers; the text itself if it cannot be read."""
    said: Hashable = None
    if name == "countdown":
        said = read_value(answer)
    elif name == "choice":
        options = ground_truth.get("options")
        said = read_choice(answer, LETTERS[: USUAL_OPTIONS if options is None else len(options)])
    elif name == "kk_logic":
        said = read_roles(answer, read_ground_truth(ground_truth)[0])
    elif name == "free_text":
        said = normalise(answer)
    return ("text", answer) if said is None else ("said", said)


def _equal(answer: str, other: str) -> bool:
    try:
        # Both ways, because votes have no order: `verify` wants its first argument worked out, not the second.
        return all(verify(*pair)["equal"] for pair in ((answer, other), (other, answer)))
    except (LimitReached, VerifierFailed):
        return False
