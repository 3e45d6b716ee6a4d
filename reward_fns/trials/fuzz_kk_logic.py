"""Random and adversarial answers to knights-and-knaves puzzles, with verdicts known from how they were made.
An answer is written from a chosen assignment of roles, so it is correct exactly if that is the solution."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from reward_fns.trials import Label, Trial

_NAMES = ("Ann", "Anna", "Annabel", "Jack", "Jackson", "Zoey", "Oliver", "Emma", "Emily", "Will", "Grace", "Mark")
_TEXT = (
    "knight knave knights knaves liar not no all both the rest everyone except only none nobody neither nor and or if "
    "is are isn't so too but because since Zoey Ann Anna Jack <answer> </answer> </think> <think> ( ) [ ] { } : ; , . "
    "- -> = | * ** # ' \" \\ \\boxed{ $ 1. (2) 3) ? ~ \n \x00 \u202e \u200b \ufeff é 騎士 🗡 ½ 's '' -- 's's a-b"
)
_PIECES = _TEXT.split(" ")
_ONE = ("{name} is a {role}", "{name}: {role}", "{name} - {role}", "{name} = {role}", "**{name}** is a *{role}*")
_ONE_MORE = ("{name} → {role}", "{name} ({role})", '"{name}": "{role}"', "{name} is not a {other}", "{name} {role}")
_SURE = ("{name} must be a {role}", "{name} is a {role}, not a {other}", "{name} is a {role} (the {synonym})")


def sample(draw: random.Random) -> Trial:
    """One trial: a written-out assignment (half of them the solution), a spoilt one, a mixture of pieces, or bulk."""
    names = draw.sample(_NAMES, draw.randint(2, 8))
    solution = [draw.random() < 0.5 for _ in names]
    truth = {"names": names, "solution": solution}
    kind = draw.random()
    if kind < 0.6:
        roles = list(solution)
        if draw.random() < 0.5:
            roles = [draw.random() < 0.5 for _ in names]
        answer = draw.choice(_WRITERS)(draw, names, roles)
        label: Label = "correct" if roles == solution else "wrong"
        return Trial(_response(draw, answer), truth, label, "written assignment")
    if kind < 0.8:
        spoilt = draw.choice(_SPOILERS)(draw, names, solution)
        return Trial(_response(draw, spoilt), truth, "not correct", "spoilt solution")
    if kind < 0.98:
        pieces = [draw.choice([*_PIECES, *names]) for _ in range(draw.randint(0, 60))]
        text = draw.choice(["", " "]).join(pieces)
        return Trial(draw.choice(["{}", "<answer>{}</answer>"]).replace("{}", text), truth, "any", "mixture of pieces")
    bulk = draw.choice([*_PIECES, *names, "is a knight, ", "Knights: ", "everyone except "]) * draw.randint(1, 20_000)
    return Trial(f"</think><answer>{bulk}</answer>", truth, "any", "one piece many times")


def _response(draw: random.Random, answer: str) -> str:
    thought = draw.choice(["", "Assume the first is a knight. ", "<answer> nobody </answer> "])
    return (
        f"{thought}</think>\n<answer>{draw.choice(['', ' ', chr(10)])}{answer} </answer>{draw.choice(['', ' Done.'])}"
    )


def _role(knight: bool) -> str:
    return "knight" if knight else "knave"


def _one_by_one(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    frames = draw.choice([_ONE, _ONE_MORE, _SURE])
    separator = draw.choice(["\n", "; ", ", ", "\n\n", "\n- ", ". ", ", and "])
    people = list(zip(names, roles, strict=True))
    draw.shuffle(people)
    numbered = separator.startswith("\n") and draw.random() < 0.5
    lines = []
    for number, (name, knight) in enumerate(people, 1):
        synonym = "truth-teller" if knight else "liar"
        line = draw.choice(frames).format(name=name, role=_role(knight), other=_role(not knight), synonym=synonym)
        lines.append(draw.choice([f"({number}) ", f"{number}. "]) + line if numbered else line)
    text = separator.join(lines)
    return draw.choice([text, text.upper(), text.lower(), text.replace("knight", "Knight")])


def _grouped(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    groups = [
        (knight, [name for name, role in zip(names, roles, strict=True) if role == knight]) for knight in (True, False)
    ]
    draw.shuffle(groups)
    frame, separator = draw.choice(
        [
            ("{roles}: {names}", "; "),
            ("{roles}: {names}", "\n"),
            ("The {roles} are {names}", ". "),
            ("{names} are {roles}", "; "),
            ("{names} are {roles}", ", and "),
            ("{names}: {roles}", "\n"),
            ("{roles} = {{{names}}}", ", "),
            ("**{roles}**\n{names}", "\n\n"),
        ]
    )
    parts = []
    for knight, people in groups:
        if people:
            listed = draw.choice([_with_and(people), " and ".join(people)])
            parts.append(frame.format(roles=_role(knight).capitalize() + "s", names=listed))
    return separator.join(parts)


def _with_and(people: Sequence[str]) -> str:
    return people[0] if len(people) == 1 else ", ".join(people[:-1]) + " and " + people[-1]


def _the_rest(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    knight = draw.random() < 0.5
    people = [name for name, role in zip(names, roles, strict=True) if role == knight]
    if not people:
        return draw.choice(["Everyone is a {}", "All of them are {}s", "They are all {}s"]).format(_role(not knight))
    if len(people) == len(names):
        return draw.choice(["Nobody is a {}", "There are no {}s"]).format(_role(not knight))
    frame = draw.choice(
        [
            "{names} are {role}s, the rest are {other}s",
            "Everyone except {names} is a {other}",
            "All are {other}s except {names}",
            "Only {names} are {role}s",
            "The only {role}s are {names}",
            "Everyone else is a {other}. {names}: {role}",
        ]
    )
    return frame.format(names=_with_and(people), role=_role(knight), other=_role(not knight))


_WRITERS: tuple[Callable[[random.Random, Sequence[str], Sequence[bool]], str], ...] = (_one_by_one, _grouped, _the_rest)


def _one_missing(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    left_out = draw.randrange(len(names))
    kept = [place for place in range(len(names)) if place != left_out]
    return _one_by_one(draw, [names[place] for place in kept], [roles[place] for place in kept])


def _contradiction(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    place = draw.randrange(len(names))
    return f"{_one_by_one(draw, names, roles)}\n{names[place]} is a {_role(not roles[place])}"


def _other_name(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    place = draw.randrange(len(names))
    changed = [*names[:place], names[place] + draw.choice("xqz"), *names[place + 1 :]]
    return _one_by_one(draw, changed, roles)


def _all_turned(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    return draw.choice(_WRITERS)(draw, names, [not knight for knight in roles])


def _unsure(draw: random.Random, names: Sequence[str], roles: Sequence[bool]) -> str:
    first, *others = _one_by_one(draw, names, roles).split("\n")
    return "\n".join([draw.choice(["Maybe ", "Either ", "If ", "It is false that "]) + first, *others])


_SPOILERS = (_one_missing, _contradiction, _other_name, _all_turned, _unsure)
