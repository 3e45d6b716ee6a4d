"""Random chains of operations in the countdown format: the text that the embedded tiny base is trained on.
Most chains ignore the target in their prompt, so the base learns the format and to calculate, but rarely to solve."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from data_prep.countdown.generate import Key, canonical_key, prompt

THEREFORE: Final = "Therefore, the final equation is "


@dataclass(frozen=True)
class ChainSettings:
    """Distribution of the chains; `aligned_share` is the share whose result is the target in the prompt."""

    sizes: tuple[int, ...] = (3, 4)
    max_number: int = 30
    max_result: int = 200
    target_range: tuple[int, int] = (10, 100)
    operators: str = "+-*/"
    operator_weights: tuple[float, ...] = (0.45, 0.45, 0.07, 0.03)
    aligned_share: float = 0.1


@dataclass(frozen=True)
class Chain:
    """One problem with one solution: each of `steps` ends in a newline, `result` is the value of the equation."""

    numbers: tuple[int, ...]
    target: int
    steps: tuple[str, ...]
    equation: str
    result: int

    @property
    def key(self) -> Key:
        """Identity of the problem in the prompt."""
        return canonical_key(self.numbers, self.target)

    @property
    def prompt(self) -> str:
        """The countdown prompt with the numbers and the target."""
        return prompt(self.numbers, self.target)

    @property
    def response(self) -> str:
        """The solution as the policy should write it after the prompt, without the end-of-sequence token."""
        return f"{''.join(self.steps)}{THEREFORE}{self.equation} </think>\n<answer> {self.equation} </answer>"


def own_texts(
    settings: ChainSettings, count: int, seed: str = "own texts of a countdown base"
) -> list[tuple[str, str]]:
    """(prompt, solution) texts like those the base was trained on."""
    draw = random.Random(seed)
    chains = [
        sample_chain(draw, settings, draw.choice(settings.sizes), aligned=draw.random() < settings.aligned_share)
        for _ in range(count)
    ]
    return [(chain.prompt, chain.response) for chain in chains]


def sample_chain(rng: random.Random, settings: ChainSettings, size: int, aligned: bool) -> Chain:
    """A chain over `size` random numbers; if `aligned`, its result is in the target range and is the target."""
    low, high = settings.target_range
    while True:
        numbers = tuple(rng.randint(1, settings.max_number) for _ in range(size))
        chain = combine(rng, settings, numbers)
        if chain is None:
            continue
        steps, equation, result = chain
        if not aligned:
            return Chain(numbers, rng.randint(low, high), steps, equation, result)
        if low <= result <= high:
            return Chain(numbers, result, steps, equation, result)


def combine(
    rng: random.Random, settings: ChainSettings, numbers: tuple[int, ...]
) -> tuple[tuple[str, ...], str, int] | None:
    """Joins two random terms until one is left; None if a value is not an allowed integer."""
    terms = [(number, str(number), True) for number in numbers]
    steps: list[str] = []
    while len(terms) > 1:
        left = terms.pop(rng.randrange(len(terms)))
        right = terms.pop(rng.randrange(len(terms)))
        operator = rng.choices(settings.operators, settings.operator_weights)[0]
        if operator in "-/" and left[0] < right[0]:
            left, right = right, left
        value = _apply(operator, left[0], right[0])
        if value is None or value > settings.max_result:
            return None
        steps.append(f"{left[0]} {operator} {right[0]} = {value}\n")
        text = " ".join((_operand(left), operator, _operand(right)))
        terms.append((value, text, False))
    return tuple(steps), terms[0][1], terms[0][0]


def _apply(operator: str, left: int, right: int) -> int | None:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return left // right if right and left % right == 0 else None


def _operand(term: tuple[int, str, bool]) -> str:
    return term[1] if term[2] else f"({term[1]})"
