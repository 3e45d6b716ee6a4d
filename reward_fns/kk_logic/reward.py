"""Knights-and-knaves reward: does the answer in the tags give every person the right role?
1.0 if it does, 0.1 if it gives everyone a role but not all are correct, 0.0 otherwise.

Example: names ["Zoey", "Owen"], solution [False, True], response "... </think>\\n<answer> (1) Zoey is a knave
(2) Owen is a knight </answer>".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from reward_fns.answer_tags import list_verdict
from reward_fns.kk_logic.reader import Roles, read_roles
from reward_fns.kk_logic.words import is_word_of_answers
from reward_fns.verdict import Verdict, listed, shown

MOST_PEOPLE = 100


def score(response: str, ground_truth: Any) -> Verdict:
    """Judges one response (generation only, no prompt) against {"names": texts, "solution": booleans, True: knight}.

    `partial` is the share of people with the correct role, even if others are missing; 0.0 if the answer contradicts
    itself or cannot be read. No response raises; a malformed ground truth raises ValueError.
    """
    people, solution = read_ground_truth(ground_truth)

    def read_complete(text: str) -> Roles | None:
        roles = read_roles(text, people)
        return None if roles is None or None in roles else roles

    return list_verdict(response, solution, read_complete, lambda text: read_roles(text, people))


def read_ground_truth(ground_truth: Any) -> tuple[dict[str, int], tuple[bool, ...]]:
    """(casefolded name -> position, solution) of a kk_logic ground truth; ValueError says which part is wrong."""
    if not isinstance(ground_truth, Mapping):
        raise ValueError(f"kk_logic ground truth must be {{names, solution, ...}}, got {shown(ground_truth)}")
    for key in ("names", "solution"):
        if ground_truth.get(key) is None:
            raise ValueError(f"kk_logic ground truth lacks {key!r}: {shown(ground_truth)}")
    names, solution = (listed("kk_logic", ground_truth, key, MOST_PEOPLE) for key in ("names", "solution"))
    if len(names) != len(solution):
        raise ValueError(f"kk_logic ground truth has {len(names)} 'names' but {len(solution)} in 'solution'")
    people: dict[str, int] = {}
    for name in names:
        if not isinstance(name, str) or not name.isalpha():
            raise ValueError(f"kk_logic ground truth 'names' must be single words of letters, got {shown(name)}")
        if is_word_of_answers(name):
            raise ValueError(f"kk_logic ground truth 'names' must not be words of the answer itself, got {name!r}")
        key = unicodedata.normalize("NFKC", name).casefold()
        if key in people:
            raise ValueError(f"kk_logic ground truth 'names' holds {name!r} twice")
        people[key] = len(people)
    for role in solution:
        if not isinstance(role, bool):
            raise ValueError(f"kk_logic ground truth 'solution' must hold true and false, got {shown(role)}")
    return people, tuple(solution)
