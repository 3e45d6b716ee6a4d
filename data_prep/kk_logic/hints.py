"""Worked solutions of knights-and-knaves puzzles: try a role, check the claims, backtrack if it fails.
The steps are those of the published data, in its order: the people mentioned by the last accepted person come next.

Example: "Assume Zoey is a knight. ", "No contradiction is found in their claim that Owen is a knave.\\n", ...,
"Therefore, (1) Zoey is a knight\\n", "(2) Owen is a knave".
"""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.kk_logic.puzzle import (
    Claims,
    everything,
    mentioned,
    role_name,
    sentence,
    where_consistent,
    where_knight,
)


def solution_lines(names: Sequence[str], solution: Sequence[bool]) -> list[str]:
    """The answer, one numbered line per person: ["(1) Zoey is a knight\\n", "(2) Owen is a knave"]."""
    lines = [
        f"({number}) {name} is a {role_name(knight)}\n"
        for number, (name, knight) in enumerate(zip(names, solution, strict=True), 1)
    ]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines


def reasoning(names: Sequence[str], claims: Claims) -> list[str]:
    """The steps to a solution and the answer's lines. Raises ValueError if no assignment fits the claims.

    People are tried in the order listed, except that people mentioned by an accepted person come next; each as a knight
    first. A role fails if the claim of anyone with an assumed role can no longer hold, whatever the others are; of
    several such claims the one of the person listed first is named.
    """
    people = len(claims)
    knights, all_ = where_knight(people), everything(people)
    consistent = [where_consistent(claim, speaker, people) for speaker, claim in enumerate(claims)]
    said = [sentence(claim, names) for claim in claims]
    spoken_of = [mentioned(claim) for claim in claims]
    order = list(range(people))
    untried = [[False, True] for _ in range(people)]
    roles: list[bool | None] = [None] * people
    # possible[d]: the assignments consistent with the roles of the first d people of `order`
    possible = [all_]
    steps: list[str] = []
    while len(possible) <= people:
        depth = len(possible) - 1
        person = order[depth]
        if not untried[person]:
            exhausted = []
            while depth >= 0 and not untried[order[depth]]:
                person = order[depth]
                untried[person], roles[person] = [False, True], None
                exhausted.append(names[person])
                depth -= 1
            if depth < 0:
                raise ValueError(f"the claims of {', '.join(names)} contradict each other whatever they are")
            del possible[depth + 1 :]
            roles[order[depth]] = None
            steps.append(
                f"We have exhausted all possibilities for {listing(exhausted)}, "
                f"so let us go back and reconsider {names[order[depth]]}.\n"
            )
            continue
        knight = untried[person].pop()
        left = possible[depth] & (knights[person] if knight else all_ ^ knights[person])
        roles[person] = knight
        broken = next((p for p in range(people) if roles[p] is not None and not left & consistent[p]), None)
        if broken is None:
            steps.append(f"Assume {names[person]} is a {role_name(knight)}. ")
            steps.append(f"No contradiction is found in their {_false(knight)}claim that {said[person]}.\n")
            possible.append(left)
            rest = order[depth + 1 :]
            soon = [p for p in spoken_of[person] if p in rest]
            order[depth + 1 :] = soon + [p for p in rest if p not in soon]
        else:
            whose = "their own" if broken == person else names[broken]
            steps.append(
                f"{names[person]} cannot be a {role_name(knight)}, because this would contradict the "
                f"{_false(bool(roles[broken]))}claim of {whose} that {said[broken]}.\n"
            )
            roles[person] = None
    lines = solution_lines(names, [bool(knight) for knight in roles])
    return [*steps, "Therefore, " + lines[0], *lines[1:]]


def listing(items: Sequence[str]) -> str:
    """ "A", "A and B", "A, B, and C"."""
    if len(items) < 3:
        return " and ".join(items)
    return ", ".join(items[:-1]) + ", and " + items[-1]


def _false(knight: bool) -> str:
    return "" if knight else "false "
