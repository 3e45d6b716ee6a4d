"""Reads the tokens of a knights-and-knaves answer clause by clause: who is said to be a knight, who a knave.
It reads "Zoey is a knight", "Zoey: knave", "Knights: Zoey, Owen; knaves: none", "everyone except Zoey is a knight"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reward_fns.kk_logic.phrases import (
    AFTER_LINK,
    COPULA,
    IN_LIST,
    IN_ONE_CLAUSE,
    IN_SENTENCE,
    before_own_clause,
    further_roles,
    name_list,
    predicate,
    starts_predicate,
)
from reward_fns.kk_logic.words import NEITHER, Kind, Token, tokens

# One entry per person: True knight, False knave, None not stated.
Roles = tuple[bool | None, ...]

_BETWEEN_CLAUSES = frozenset((Kind.COMMA, Kind.AND, Kind.STOP, Kind.LINE, Kind.LINK, Kind.TOO, Kind.BUT, Kind.IS))


class _Unreadable(Exception):
    pass


def read_roles(text: str, people: Mapping[str, int]) -> Roles | None:
    """The roles that `text` gives to the people (casefolded name -> position); None if it is not understood, or gives
    somebody both roles. Never raises."""
    found = tokens(text, people)
    if found is None:
        return None
    try:
        return _Reader(found, len(people)).read()
    except _Unreadable:
        return None


class _Reader:
    """One pass over the tokens; the state is what has been stated so far."""

    def __init__(self, found: Sequence[Token], people: int) -> None:
        self.tokens = found
        self.at = 0
        self.roles: list[bool | None] = [None] * people
        self.last: list[int] = []  # the people of the last clause, for "..., not a knave"
        self.word: bool | None = None  # its role word, for "Owen is not"
        self.denied = False  # whether it denied the role, so that "so is Owen" would be ambiguous
        self.rest: bool | None = None  # the role of "the rest"
        self.only: list[tuple[frozenset[int], bool]] = []

    def read(self) -> Roles:
        while (kind := self.tokens[self.at][0]) != Kind.END:
            if kind == Kind.NAME and self._kind(self.at + 1) in COPULA and self._kind(self.at + 2) == Kind.ROLE:
                # "Zoey is a knight": a shortcut, since nearly all clauses are like this
                self._say([self.tokens[self.at][1]], bool(self.tokens[self.at + 2][1]))
                self.at += 3
            elif kind == Kind.COUNT and self._kind(self.at + 1) == Kind.NAME:
                self.at += 1
            elif kind in (Kind.NAME, Kind.ALL, Kind.BOTH, Kind.REST, Kind.NOBODY, Kind.NONE):
                self._subject_first(False)
            elif self.tokens[self.at] == NEITHER and self._kind(self.at + 1) == Kind.IS:
                self.at += 1
                self._neither_is()
            elif kind in (Kind.ROLE, Kind.NOT, Kind.NOR, Kind.ONLY, Kind.COUNT):
                self._role_first()
            elif kind == Kind.SAME:
                self._same()
            elif kind in _BETWEEN_CLAUSES:
                self.at += 1
            else:
                raise _Unreadable
        return self._finished()

    def _finished(self) -> Roles:
        for chosen, role in self.only:
            self._say_rest(not role)
            if any(said == role and person not in chosen for person, said in enumerate(self.roles)):
                raise _Unreadable
        if self.rest is not None:
            self.roles = [self.rest if role is None else role for role in self.roles]
        return tuple(self.roles)

    def _say(self, people: Sequence[int], word: bool, denied: bool = False) -> None:
        role = word ^ denied
        for person in people:
            if self.roles[person] not in (None, role):
                raise _Unreadable
            self.roles[person] = role
        self.last, self.word, self.denied = list(people), word, denied

    def _say_rest(self, role: bool) -> None:
        if self.rest not in (None, role):
            raise _Unreadable
        self.rest = role

    def _kind(self, at: int) -> int:
        return self.tokens[at][0]

    def _names(self) -> list[int]:
        people, self.at, _ = name_list(self.tokens, self.at, IN_SENTENCE)
        return people

    def _subject_first(self, only: bool) -> None:
        """ "Zoey and Owen are knights", "everyone else is a knave", "Zoey, Owen: knight, knave"."""
        people, rest, negated, commas_only = self._subjects()
        # up to two commas: "Zoey, a knight", "Zoey, however, is a knight"
        commas = 0
        while commas < 2 and self._kind(self.at + commas) == Kind.COMMA:
            commas += 1
        found = predicate(self.tokens, self.at + commas)
        if found is None:
            raise _Unreadable
        at = found.at
        negated ^= found.denied
        only |= found.only
        if self._kind(at) != Kind.ROLE:
            # "... and so is Owen too", "Owen is not", and after a denial "Owen is"
            between = self.tokens[self.at + commas : at]
            affirmed = (
                self.denied and not (found.too or negated or commas_only) and {Kind.IS} == {k for k, _ in between}
            )
            if (found.too == negated and not affirmed) or rest or self.word is None or (found.too and self.denied):
                raise _Unreadable
            if NEITHER in between:  # "Zoey is neither"
                raise _Unreadable
            self.at = at
            self._say(people, self.word, negated)
            return
        # "Zoey, Owen is a knave" does not say what Zoey is, "Zoey and Owen: one knight" does not say who
        if (commas_only and found.singular) or found.number not in (0, len(people)):
            raise _Unreadable
        role = bool(self.tokens[at][1])
        self.at = at + 1
        if rest:
            self._say_rest(role ^ negated)
            return
        if only and not negated:
            self.only.append((frozenset(people), role))
        each = further_roles(self.tokens, self.at, len(people)) if len(people) > 1 and not negated else None
        if each is not None:
            others, self.at = each
            for person, own in zip(people, [role, *others], strict=True):
                self._say([person], own)
        elif self._excepted() and len(people) == len(self.roles):
            self._say_except(people, role ^ negated)
        else:
            self._say(people, role, negated)

    def _subjects(self) -> tuple[list[int], bool, bool, bool]:
        """(people, whether the unnamed rest is meant, whether negated, whether only commas join the people)."""
        kind = self._kind(self.at)
        everyone = list(range(len(self.roles)))
        if kind == Kind.NAME:
            people, self.at, commas_only = name_list(self.tokens, self.at, IN_SENTENCE)
            return people, False, False, commas_only
        negated = kind in (Kind.NOBODY, Kind.NONE)
        both = kind == Kind.BOTH
        rest = kind == Kind.REST
        self.at += 1
        while self._kind(self.at) in (Kind.COUNT, Kind.REST):
            rest |= self._kind(self.at) == Kind.REST
            self.at += 1
        at = self.at + (self._kind(self.at) == Kind.COMMA)
        if (
            self._kind(at) == Kind.NAME
        ):  # "both Zoey and Owen", "none of Zoey, Owen and Mia", "the others, Zoey and Owen,"
            self.at = at
            return self._names(), False, negated, False
        if both and len(everyone) != 2:
            raise _Unreadable
        if self._kind(at) in (Kind.EXCEPT, Kind.BUT) and self._kind(at + 1) == Kind.NAME and not rest and not negated:
            self.at = at + 1
            excluded = self._names()
            self._say_opposite(excluded)
            everyone = [person for person in everyone if person not in excluded]
        return everyone, rest, negated, False

    def _say_opposite(self, people: Sequence[int]) -> None:
        # "everyone except Zoey is a knight": the role comes later in the clause
        found = predicate(self.tokens, self.at + (self._kind(self.at) == Kind.COMMA))
        if found is None or found.denied or self._kind(found.at) != Kind.ROLE:
            raise _Unreadable
        self._say(people, not self.tokens[found.at][1])

    def _excepted(self) -> bool:
        self.at += self._kind(self.at) == Kind.COMMA and self._kind(self.at + 1) == Kind.EXCEPT
        return self._kind(self.at) == Kind.EXCEPT and self._kind(self.at + 1) == Kind.NAME

    def _say_except(self, people: Sequence[int], role: bool) -> None:
        """ "Everyone is a knight except Zoey (who is a knave)"."""
        self.at += 1
        excluded = self._names()
        self._say([person for person in people if person not in excluded], role)
        self._say(excluded, not role)

    def _role_first(self) -> None:
        """ "Knights: Zoey and Owen", "the only knave is Owen", "no knaves"; or one more role for the last people."""
        negated = only = False
        counted: int | None = None
        while (kind := self._kind(self.at)) in (Kind.NOT, Kind.NOR, Kind.ONLY, Kind.COUNT):
            negated ^= kind in (Kind.NOT, Kind.NOR)  # "neither a knight nor a knave" must not read as a knave
            only |= kind == Kind.ONLY
            counted = self.tokens[self.at][1] if kind == Kind.COUNT else counted
            self.at += 1
        if kind != Kind.ROLE:
            if kind == Kind.NAME and negated:  # "neither Zoey nor Owen is a knight"
                self._deny(self._names())
            elif kind == Kind.NAME:
                self._subject_first(only)
            elif negated or only:
                raise _Unreadable
            return
        role = bool(self.tokens[self.at][1]) ^ negated
        self.at += 1
        if counted is not None and not negated and self._all_named(counted, role):
            return
        after = self.at
        # A role alone on its line is a heading.
        linked = self._kind(after) == Kind.LINE and (after == 1 or self._kind(after - 2) == Kind.LINE)
        same_line = True
        while (kind := self._kind(after)) in COPULA or kind == Kind.LINE or (linked and kind == Kind.COUNT):
            same_line &= kind != Kind.LINE
            linked |= same_line and kind in COPULA  # on the next line it would be a bullet
            after += 1
        if kind == Kind.NAME and (linked or after == self.at or not self.last):
            if self._named(after, role, only, must=(linked or not self.last) and counted is None):
                return
        elif kind in AFTER_LINK and linked:
            self.at = after + 1
            if kind == Kind.ALL:
                self._say(range(len(self.roles)), role)
            else:
                # An empty list of knaves makes everyone a knight; next to a list of knights it adds nothing.
                self._say_rest(role if kind == Kind.REST else not role)
            return
        if self.last and counted is None and not (linked and kind == Kind.NAME):
            if only and not negated:
                self.only.append((frozenset(self.last), role))
            word, denied = self.word, self.denied
            self._say(self.last, role)
            if negated:  # "Zoey is a knight, not a knave": what "Owen is not" denies is still "a knight"
                self.word, self.denied = word, denied
        elif counted is None:
            raise _Unreadable

    def _all_named(self, count: int, role: bool) -> bool:
        """ "There are two knights, Zoey and Emma": as many names as counted, which do not start a new clause."""
        if self._kind(self.at) != Kind.COMMA:
            return False
        people, end, _ = name_list(self.tokens, self.at + 1, IN_SENTENCE)
        if len({*people}) != count or starts_predicate(self.tokens, end):
            return False
        self.at = end
        self._say(people, role)
        return True

    def _neither_is(self) -> None:
        """ "Neither is a knight" of two people; "Owen is not a knight, and neither is Zoey"."""
        if self._kind(self.at + 1) != Kind.NAME:
            if len(self.roles) != 2:
                raise _Unreadable
            self._deny(range(2))
            return
        self.at += 1
        people = self._names()
        if self.word is None or not self.denied or starts_predicate(self.tokens, self.at):
            raise _Unreadable
        self._say(people, self.word, denied=True)

    def _deny(self, people: Sequence[int]) -> None:
        while self._kind(self.at) in COPULA:
            self.at += 1
        kind, value = self.tokens[self.at]
        if kind != Kind.ROLE:
            raise _Unreadable
        self.at += 1
        self._say(people, bool(value), denied=True)

    def _named(self, start: int, role: bool, only: bool, must: bool) -> bool:
        """Reads the people of "Knights: Zoey, Owen"; False, without reading on, if they belong to another clause."""
        people, end, _ = name_list(self.tokens, start, IN_LIST)
        if starts_predicate(self.tokens, end):
            if not must:
                return False
            keep = before_own_clause(self.tokens, start, end)
            if keep is None:
                raise _Unreadable
            people, end = keep
        self.at = end
        if only:
            self.only.append((frozenset(people), role))
        self._say(people, role)
        return True

    def _same(self) -> None:
        """ "so is Owen", "as are Owen and Mia", "so are the others": the same as the last people."""
        singular = bool(self.tokens[self.at][1])
        self.at += 1
        if self.word is None or self.denied:
            raise _Unreadable
        if self._kind(self.at) == Kind.REST:
            self.at += 1
            self._say_rest(self.word)
            return
        people, self.at, _ = name_list(self.tokens, self.at, IN_ONE_CLAUSE if singular else IN_SENTENCE)
        if not people or starts_predicate(self.tokens, self.at):
            raise _Unreadable
        self._say(people, self.word)
