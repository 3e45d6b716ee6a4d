"""Phrases in the tokens of a knights-and-knaves answer: lists of people, what is said about them, lists of roles.
These functions only look ahead; reader.py decides what is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reward_fns.kk_logic.words import Kind, Token

# What may separate the people of a list: in a sentence, after "so is", and after "Knights:".
IN_SENTENCE = frozenset((Kind.COMMA, Kind.AND, Kind.NOR))
IN_ONE_CLAUSE = frozenset((Kind.AND,))
IN_LIST = frozenset((Kind.COMMA, Kind.AND, Kind.LINE, Kind.LINK, Kind.COUNT))
COPULA = frozenset((Kind.IS, Kind.LINK))
# Who can be given a role after "Knights:".
AFTER_LINK = frozenset((Kind.NAME, Kind.NONE, Kind.ALL, Kind.REST, Kind.NOBODY))
_BEFORE_ROLE = frozenset((Kind.IS, Kind.LINK, Kind.NOT, Kind.ALL, Kind.BOTH, Kind.TOO, Kind.ONLY, Kind.COUNT))
_INSIDE_PREDICATE = frozenset((Kind.REST, Kind.LINE, Kind.NOBODY))


class NameList(NamedTuple):
    """The people of a list, where it ends, and whether only commas separate them."""

    people: list[int]
    end: int
    commas_only: bool


class Predicate(NamedTuple):
    """What is between the subject and the role at `at` (some other token if there is no role)."""

    at: int
    denied: bool
    only: bool
    too: bool
    singular: bool
    number: int  # 2 in "are two knights"; 0 if none is given


def name_list(tokens: Sequence[Token], at: int, between: frozenset[int]) -> NameList:
    """The people from `at` on, separated by one or more of `between`."""
    people: list[int] = []
    commas_only = True
    end = at
    while tokens[at][0] == Kind.NAME:
        people.append(tokens[at][1])
        if len(people) > 1:
            commas_only &= all(tokens[i][0] == Kind.COMMA for i in range(end, at))
        end = at = at + 1
        while tokens[at][0] in between:
            at += 1
        if at == end:
            break
    return NameList(people, end, commas_only and len(people) > 1)


def predicate(tokens: Sequence[Token], at: int) -> Predicate | None:
    """What precedes the role; None for "are not all knights", "is not the only knight", which say too little."""
    denied = only = too = singular = False
    start, count = at, 0
    while (kind := tokens[at][0]) in _BEFORE_ROLE or (at > start and kind in _INSIDE_PREDICATE):
        if at == start and kind == Kind.COUNT and tokens[at + 1][0] == Kind.ROLE:
            break  # "Zoey 2. Knave" ends one line of a list and begins the next
        if kind == Kind.LINE and tokens[at - 1][0] != Kind.LINK:
            break  # "Zoey:" and the role on the next line are one clause, any other line break ends it
        if denied and kind in (Kind.ALL, Kind.BOTH, Kind.ONLY, Kind.REST):
            return None
        if kind == Kind.COUNT and tokens[at + 1][0] == Kind.ROLE:
            count = tokens[at][1]
        denied ^= kind in (Kind.NOT, Kind.NOBODY)  # "is not a knight", "is no knight"
        only |= kind == Kind.ONLY
        too |= kind == Kind.TOO
        singular |= tokens[at] == (Kind.IS, 1)
        at += 1
    return Predicate(at, denied, only, too, singular, count)


def starts_predicate(tokens: Sequence[Token], at: int) -> bool:
    """Whether the people before `at` are the subject of what follows, as in "Zoey is a knave", "Zoey: knave".

    Not in "Knights: Zoey knaves: Owen", where the next role has its own people.
    """
    found = predicate(tokens, at)
    if found is None:
        return True
    if tokens[found.at][0] != Kind.ROLE:
        return False
    after = found.at + 1
    while tokens[after][0] in COPULA:
        after += 1
    return after == found.at + 1 or tokens[after][0] not in AFTER_LINK


def before_own_clause(tokens: Sequence[Token], start: int, end: int) -> tuple[list[int], int] | None:
    """For "Zoey and Owen, and Mia is a knave" read as one list: (Zoey and Owen, position of Mia).

    start, end: of the list. The subject of the second clause is the last name, or before "are" all names after the last
    comma. None if this is ambiguous.
    """
    found = predicate(tokens, end)
    plural = found is not None and not found.singular and tokens[end][0] != Kind.LINK
    names = [at for at in range(start, end) if tokens[at][0] == Kind.NAME]
    tail = len(names) - 1
    if plural:
        while tail > 0 and not any(
            tokens[at][0] in (Kind.COMMA, Kind.LINE) for at in range(names[tail - 1], names[tail])
        ):
            tail -= 1
        if len(names) - tail < 2:
            return None
    if tail == 0:
        return None
    return [tokens[at][1] for at in names[:tail]], names[tail]


def further_roles(tokens: Sequence[Token], at: int, people: int) -> tuple[list[bool], int] | None:
    """The roles after the first in "Zoey, Owen: knight, knave", and where they end, if there is one for everyone."""
    roles: list[bool] = []
    end = at
    while True:
        while tokens[at][0] in IN_SENTENCE:
            at += 1
        if at == end or tokens[at][0] != Kind.ROLE:
            break
        roles.append(bool(tokens[at][1]))
        end = at = at + 1
    if len(roles) != people - 1 or tokens[end][0] in (Kind.NAME, Kind.LINK, Kind.IS):
        return None
    return roles, end
