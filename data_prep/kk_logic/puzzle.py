"""Knights and knaves as logic: what people claim, how it reads in English, and who can be what.
Truth tables are integers with one bit per assignment of roles, so that every assignment is examined.

Example: "(('<=>', ('telling-truth', 1), ('lying', 0)), ('not', ('lying', 0)))" is about two people; the
first claims "P1 is a knight if and only if P0 is a knave", the second "P0 is not a knave".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import permutations, product
from typing import NamedTuple

MOST_PEOPLE = 8
MOST_STATEMENT_CHARS = 2_000

AFFIRM, DENY, AND, OR, IF, IFF = "is", "not", "and", "or", "->", "<=>"
FORMS = (AFFIRM, DENY, AND, OR, IF, IFF)
_COMMUTATIVE = frozenset({AND, OR, IFF})
_ROLE_WORDS = {True: "telling-truth", False: "lying"}


class Leaf(NamedTuple):
    """`person` (position in the list of names) is a knight, or is a knave."""

    person: int
    knight: bool


class Claim(NamedTuple):
    """What one person says: a leaf affirmed or denied, or two leaves joined by "and", "or", "->" or "<=>"."""

    form: str
    leaves: tuple[Leaf, ...]


# The claims of the people of one puzzle in the order of their names.
Claims = tuple[Claim, ...]
Key = tuple[tuple[str, tuple[tuple[int, bool], ...]], ...]


class PuzzleError(ValueError):
    """Statements outside the grammar; the message says what and where."""


_LEAF = r"\(\s*['\"](telling-truth|lying)['\"]\s*,\s*([0-9])\s*\)"
_CLAIM = re.compile(
    rf"\s*(?:{_LEAF}|\(\s*['\"](not)['\"]\s*,\s*{_LEAF}\s*\)"
    rf"|\(\s*['\"](and|or|->|<=>)['\"]\s*,\s*{_LEAF}\s*,\s*{_LEAF}\s*\))\s*"
)


def read_statements(text: str, people: int) -> Claims:
    """The claims in a text of statements; PuzzleError if it is not exactly `people` claims in the grammar."""
    if len(text) > MOST_STATEMENT_CHARS:
        raise PuzzleError(f"statements of {len(text)} characters; at most {MOST_STATEMENT_CHARS} are read")
    if not 2 <= people <= MOST_PEOPLE:
        raise PuzzleError(f"a puzzle has 2 to {MOST_PEOPLE} people, not {people}")
    body = text.strip()
    if not body.startswith("(") or not body.endswith(")"):
        raise PuzzleError(f"statements must be in brackets: {text[:80]!r}")
    body = body[1:-1]
    claims: list[Claim] = []
    at = 0
    while at < len(body):
        match = _CLAIM.match(body, at)
        if match is None:
            raise PuzzleError(f"statement {len(claims)} is not in the grammar: {body[at : at + 80]!r}")
        claims.append(_claim(match, people))
        at = match.end()
        if at < len(body):
            if body[at] != ",":
                raise PuzzleError(f"a comma is missing after statement {len(claims) - 1}: {body[at : at + 80]!r}")
            at += 1
    if len(claims) != people:
        raise PuzzleError(f"{len(claims)} statements for {people} people")
    return tuple(claims)


def _claim(match: re.Match[str], people: int) -> Claim:
    word, person, negation, denied, denied_person, joint, *pairs = match.groups()
    if word:
        form, found = AFFIRM, [(word, person)]
    elif negation:
        form, found = DENY, [(denied, denied_person)]
    else:
        form, found = joint, [(pairs[0], pairs[1]), (pairs[2], pairs[3])]
    leaves = tuple(Leaf(int(number), role == "telling-truth") for role, number in found)
    for leaf in leaves:
        if leaf.person >= people:
            raise PuzzleError(
                f"a statement is about person {leaf.person}, but the {people} people are 0 to {people - 1}"
            )
    return Claim(form, leaves)


def statements_text(claims: Claims) -> str:
    """The claims in the text form of the published ground truths."""
    return "(" + ", ".join(_claim_text(claim) for claim in claims) + ")"


def _claim_text(claim: Claim) -> str:
    leaves = ", ".join(f"('{_ROLE_WORDS[leaf.knight]}', {leaf.person})" for leaf in claim.leaves)
    return leaves if claim.form == AFFIRM else f"('{claim.form}', {leaves})"


def role_name(knight: bool) -> str:
    return "knight" if knight else "knave"


def sentence(claim: Claim, names: Sequence[str]) -> str:
    """The claim in English, as after "claims that" or in quotation marks (published data has `If` in both)."""
    first = claim.leaves[0]
    if claim.form == DENY:
        return f"{names[first.person]} is not a {role_name(first.knight)}"
    left = f"{names[first.person]} is a {role_name(first.knight)}"
    if claim.form == AFFIRM:
        return left
    second = claim.leaves[1]
    right = f"{names[second.person]} is a {role_name(second.knight)}"
    if claim.form == IF:
        return f"If {left} then {right}"
    return f"{left} {'if and only if' if claim.form == IFF else claim.form} {right}"


def mentioned(claim: Claim) -> list[int]:
    """The people mentioned in a claim, in order, each once."""
    return list(dict.fromkeys(leaf.person for leaf in claim.leaves))


@cache
def everything(people: int) -> int:
    """The set of all 2**people assignments: bit m is the one in which person p is a knight iff bit p of m is 1."""
    return (1 << (1 << people)) - 1


@cache
def where_knight(people: int) -> tuple[int, ...]:
    """For each person, the set of assignments in which they are a knight."""
    return tuple(sum(1 << m for m in range(1 << people) if m >> person & 1) for person in range(people))


def where_consistent(claim: Claim, speaker: int, people: int) -> int:
    """The assignments in which the claim is true if and only if its speaker is a knight."""
    knights, all_ = where_knight(people), everything(people)
    person, knight = claim.leaves[0]
    true = knights[person] if knight else all_ ^ knights[person]
    form = claim.form
    if form == DENY:
        true ^= all_
    elif form != AFFIRM:
        person, knight = claim.leaves[1]
        other = knights[person] if knight else all_ ^ knights[person]
        if form == AND:
            true &= other
        elif form == OR:
            true |= other
        elif form == IF:
            true = all_ ^ true | other
        else:
            true = all_ ^ true ^ other
    return all_ ^ true ^ knights[speaker]


def solutions(claims: Claims) -> list[tuple[bool, ...]]:
    """All assignments of roles (True: knight) that fit all claims, of the 2**people possible ones."""
    people = len(claims)
    fitting = everything(people)
    for speaker, claim in enumerate(claims):
        fitting &= where_consistent(claim, speaker, people)
    return [_roles(m, people) for m in range(1 << people) if fitting >> m & 1] if fitting else []


def unique_solution(claims: Claims) -> tuple[bool, ...] | None:
    """The solution if there is exactly one."""
    people = len(claims)
    fitting = everything(people)
    for speaker, claim in enumerate(claims):
        fitting &= where_consistent(claim, speaker, people)
        if not fitting:
            return None
    if fitting & (fitting - 1):
        return None
    return _roles(fitting.bit_length() - 1, people)


def _roles(assignment: int, people: int) -> tuple[bool, ...]:
    return tuple(bool(assignment >> person & 1) for person in range(people))


def canonical_key(claims: Claims) -> Key:
    """The identity of a puzzle: puzzles with equal keys are the same question.

    It does not depend on names, on the order of people or of the two sides of "and", "or" and "<=>", or on whether "a
    knave" is called "not a knight".
    """
    people = range(len(claims))
    plain = [_plain(claim) for claim in claims]
    # A person's colour is a rank by what they say about whom; people with different colours are not interchangeable.
    colours = [0] * len(claims)
    different = 1
    while True:
        signs = [(colours[p], *_relabelled(plain[p], [2 * colours[q] + (q == p) for q in people])) for p in people]
        ranks = {sign: rank for rank, sign in enumerate(sorted(set(signs)))}
        colours = [ranks[sign] for sign in signs]
        if len(ranks) == different:
            break
        different = len(ranks)
    if different == len(claims):
        return _ordered(plain, colours)
    # People with the same colour are tried in every order, and the smallest result is used.
    classes = [[p for p in people if colours[p] == rank] for rank in range(different)]
    keys = []
    for orders in product(*(permutations(members) for members in classes)):
        order = [p for members in orders for p in members]
        keys.append(_ordered(plain, [order.index(p) for p in people]))
    return min(keys)


def _plain(claim: Claim) -> Claim:
    if claim.form != DENY:
        return claim
    leaf = claim.leaves[0]
    return Claim(AFFIRM, (Leaf(leaf.person, not leaf.knight),))


def _relabelled(claim: Claim, labels: Sequence[int]) -> tuple[str, tuple[tuple[int, bool], ...]]:
    form, leaves = claim
    if len(leaves) == 1:
        return form, ((labels[leaves[0][0]], leaves[0][1]),)
    first, second = leaves
    a, b = (labels[first[0]], first[1]), (labels[second[0]], second[1])
    return form, (b, a) if b < a and form in _COMMUTATIVE else (a, b)


def _ordered(claims: Sequence[Claim], places: Sequence[int]) -> Key:
    placed = [(place, _relabelled(claim, places)) for claim, place in zip(claims, places, strict=True)]
    return tuple(claim for _, claim in sorted(placed))
