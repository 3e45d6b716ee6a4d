"""Random and adversarial answers to chain problems, with verdicts known from how they were made.
An answer is written from chosen states, so it is correct exactly if they are the solution."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from reward_fns.trials import Label, Trial

_TEXT = (
    "0 1 2 3 10 07 -1 +2 1.5 1e3 ² ½ ٣ 三 , ; . : = -> → and or state step s_ ( ) [ ] { } (1) (2) 1. 2) #1 * ** ` ``` "
    "$ <answer> </answer> </think> <think> \\boxed{ \n \t \x00 \u202e \u200b \ufeff é mod ... ?"
)
_PIECES = _TEXT.split(" ")
_ENTRIES = (
    "({n}) {s}",
    "{n}) {s}",
    "{n}. {s}",
    "{n}: {s}",
    "state {n}: {s}",
    "State {n} is {s}",
    "s_{n} = {s}",
    "({n}): {s}",
)
_PLAIN_SEPARATORS = (", ", ",", " ", "\n", " -> ", "→", "; ", "  ", ",\n")
_ENTRY_SEPARATORS = (" ", "\n", ", ", "; ", ",\n", "\n\n", ", and ")
_DRESSED = ("{}", "{}.", "[{}]", "({})", "**{}**", "`{}`", "${}$")


def sample(draw: random.Random) -> Trial:
    """One trial: written-out states (half of them the solution), a spoilt list, a mixture of pieces, or bulk."""
    size, depth = draw.choice((2, 3, 4, 8, 16)), draw.randint(1, 12)
    solution = [draw.randrange(size) for _ in range(depth)]
    truth = {"start": draw.randrange(size), "solution": solution}
    kind = draw.random()
    if kind < 0.6:
        states = list(solution) if draw.random() < 0.5 else _changed(draw, solution, size)
        label: Label = "correct" if states == solution else "wrong"
        return Trial(_response(draw, draw.choice(_WRITERS)(draw, states)), truth, label, "written states")
    if kind < 0.8:
        spoilt, label = draw.choice(_SPOILERS)(draw, solution)
        return Trial(_response(draw, spoilt), truth, label, "spoilt solution")
    if kind < 0.98:
        pieces = [draw.choice(_PIECES) for _ in range(draw.randint(0, 60))]
        text = draw.choice(["", " "]).join(pieces)
        return Trial(draw.choice(["{}", "<answer>{}</answer>"]).replace("{}", text), truth, "any", "mixture of pieces")
    bulk = draw.choice([*_PIECES, "1, ", "(1) 1 ", "state 1: ", " ,", "\n", "and "]) * draw.randint(1, 20_000)
    return Trial(f"</think><answer>{bulk}{draw.choice(_PIECES)}</answer>", truth, "any", "one piece many times")


def _response(draw: random.Random, answer: str) -> str:
    thought = draw.choice(["", "state 1: 3\n", "<answer> 0, 0 </answer> ", "I add modulo 4. "])
    inside = f"{draw.choice(['', ' ', chr(10)])}{answer} "
    return f"{thought}</think>\n<answer>{inside}</answer>{draw.choice(['', ' Done.'])}"


def _changed(draw: random.Random, solution: Sequence[int], size: int) -> list[int]:
    """Other states: one changed, one missing, one added, two swapped, or all new; by chance possibly the same."""
    states, at = list(solution), draw.randrange(len(solution))
    kind = draw.randrange(5)
    if kind == 0:
        states[at] = (states[at] + 1 + draw.randrange(size - 1)) % size
    elif kind == 1 and len(states) > 1:
        del states[at]
    elif kind == 2:
        states.insert(at, draw.randrange(size))
    elif kind == 3:
        other = draw.randrange(len(states))
        states[at], states[other] = states[other], states[at]
    else:
        states = [draw.randrange(size) for _ in states]
    return states


def _plain(draw: random.Random, states: Sequence[int]) -> str:
    text = draw.choice(_PLAIN_SEPARATORS).join(map(str, states))
    return draw.choice(_DRESSED).replace("{}", text)


def _numbered(draw: random.Random, states: Sequence[int]) -> str:
    entry = draw.choice(_ENTRIES)
    text = draw.choice(_ENTRY_SEPARATORS).join(entry.format(n=n, s=s) for n, s in enumerate(states, start=1))
    return draw.choice([text, text.upper(), f"**{text}**", f"{text}."])


_WRITERS: tuple[Callable[[random.Random, Sequence[int]], str], ...] = (_plain, _numbered)


def _misnumbered(draw: random.Random, states: Sequence[int]) -> tuple[str, Label]:
    """A number is missing or repeated."""
    numbers = list(range(1, len(states) + 1))
    at = draw.randrange(len(numbers))
    numbers[at:] = [number + draw.choice((-1, 1, 5)) for number in numbers[at:]]
    if numbers[0] == 0:
        # Number 0 stands for the start.
        return "state 0: maybe", "unreadable"
    return " ".join(f"({number}) {state}" for number, state in zip(numbers, states, strict=True)), "unreadable"


def _not_numbers(draw: random.Random, states: Sequence[int]) -> tuple[str, Label]:
    said = [str(state) for state in states]
    at = draw.randrange(len(said))
    said[at] = draw.choice(
        ["x", "-" + said[at], said[at] + ".5", "0" + said[at], said[at] + "²", "?", said[at] + " or 1"]
    )
    return ", ".join(said), "unreadable"


def _in_words(draw: random.Random, states: Sequence[int]) -> tuple[str, Label]:
    return draw.choice(["The states are {}", "not {}", "{} or so", "maybe {}"]).format(
        _plain(draw, states)
    ), "unreadable"


def _two_answers(draw: random.Random, states: Sequence[int]) -> tuple[str, Label]:
    other = [*states[:-1], states[-1] + 1]
    both = [states, other] if draw.random() < 0.5 else [other, states]
    return " </answer> <answer> ".join(_plain(draw, each) for each in both), "wrong"


_SPOILERS: tuple[Callable[[random.Random, Sequence[int]], tuple[str, Label]], ...] = (
    _misnumbered,
    _not_numbers,
    _in_words,
    _two_answers,
)
