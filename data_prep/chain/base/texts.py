"""The training texts of the chain bases: solutions whose steps are correct with probability q, and questions that show
a solution or its beginning, which is then followed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from data_prep.chain.base.tokenizer import SHOWN, STATES
from data_prep.chain.problem import Problem, Rule, Space, step
from data_prep.chain.rows import EXAMPLE, final_answer, lines, prompt, question
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS


@dataclass(frozen=True)
class TextSettings:
    """q: each step follows the rule with this probability, otherwise its state is drawn from all states, including the
    correct one: a step is correct with probability q + (1 - q) / states. shown: share of questions that show (part of)
    a correct solution."""

    q: float
    rules: tuple[Rule, ...] = ("sum", "table", "parity")
    depths: tuple[int, int] = (2, 24)
    shown: float = 0.3


def written(rng: random.Random, problem: Problem, q: float, given: int) -> list[int]:
    """The states of a solution whose first `given` steps are correct."""
    states = [*problem.solution[:given]]
    for move in problem.inputs[given:]:
        before = states[-1] if states else problem.start
        states.append(step(problem.space, before, move) if rng.random() < q else rng.randrange(problem.space.states))
    return states


def solution_text(states: list[int]) -> str:
    """A complete solution as the policy writes it, without the end-of-text token."""
    return "".join(lines(states)) + ANSWER_OPENS + final_answer(states) + ANSWER_CLOSES


def shown_prompt(problem: Problem, frame: str, given: int) -> str:
    """The prompt with the first `given` steps of the solution; the frame "solution" shows all of it and the answer."""
    states = list(problem.solution)
    if frame == "solution":
        return SHOWN[frame].format(shown=solution_text(states), prompt=prompt(problem))
    asked = SHOWN[frame].format(question=question(problem), shown="".join(lines(states[:given])))
    return completion_prompt(Question(asked, EXAMPLE))


def batch(
    tokenizer: PreTrainedTokenizerFast, settings: TextSettings, rows: int, deepest: int, rng: random.Random
) -> tuple[Tensor, int]:
    """(tokens (rows, length), prompt length) with one rule, depth and frame, so that all rows have the same length.

    deepest: the largest depth for now.
    """
    low, high = settings.depths
    depth = rng.randint(low, max(low, min(high, deepest)))
    written_rows: list[list[int]] = []
    length = 0
    for given, solution in texts(settings, rows, depth, rng):
        asked = tokenizer.encode(given)
        written_rows.append([*asked, *tokenizer.encode(solution), tokenizer.eos_token_id])
        length = len(asked)
    return torch.tensor(written_rows), length


def texts(settings: TextSettings, rows: int, depth: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(prompt, solution) texts with one rule, depth and frame."""
    space = Space(rng.choice(settings.rules), STATES, depth)
    frame = rng.choice([*SHOWN]) if rng.random() < settings.shown else ""
    given = {"": 0, "solution": depth}.get(frame, rng.randint(1, depth))
    for _ in range(rows):
        start, *inputs = (rng.randrange(STATES) for _ in range(depth + 1))
        problem = Problem(space, start, tuple(inputs))
        asked = shown_prompt(problem, frame, given) if frame else prompt(problem)
        yield asked, solution_text(written(rng, problem, settings.q, given))


def own_texts(settings: TextSettings, count: int) -> list[tuple[str, str]]:
    """Texts like those the base was trained on, each with its own rule, depth and frame."""
    rng = random.Random("own texts of a chain base")
    return [next(texts(settings, 1, rng.randint(*settings.depths), rng)) for _ in range(count)]
