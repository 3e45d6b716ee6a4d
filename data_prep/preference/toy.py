"""The synthetic set countdown_preference: answers to countdown problems with their true scores, and instructions.
The best policy is known (a correct answer to every problem), which shows on a CPU whether alignment works.

Prompts are problems with three numbers up to 30, + and -, like the CPU profile's countdown data. Answers are chains
like those the embedded tiny base was trained on, so they are nearly its own. Instructions are worked solutions of
problems with four numbers: another skill, which una_sft learns in the same run and sft -> una in two.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from data_prep.countdown.generate import Key, Problem, Space, generate, prompt, to_row
from data_prep.preference.make_rows import new_row
from data_prep.preference.schema import Row
from data_prep.preference.split import Written, write_split
from data_prep.tiny_base.chains import THEREFORE, Chain, ChainSettings, combine
from reward_fns.countdown import score
from reward_fns.expression import read_expression

DATA_SOURCE: Final = "countdown_preference"
SPACE: Final = Space(sizes=(3,), max_number=30, targets=(10, 100), operators="+-")
INSTRUCTION_SPACE: Final = Space(sizes=(4,), max_number=30, targets=(10, 100), operators="+-")
# The number of evaluation problems in the largest test file of any profile, all of seed 0.
_EVALUATED: Final = 1024

NEAR: Final = 0.6
"""The score that a wrong answer approaches as its value approaches the target."""

HALVING: Final = 10.0
"""The distance from the target at which the score of a wrong answer is halved."""

_CHAINS: Final = ChainSettings()
_ONE_IN_BROKEN: Final = 16
# Three equal numbers still give this many different chains without rare operations.
_MOST_ANSWERS: Final = 8


def true_score(answer: str, numbers: Sequence[int], target: int) -> float:
    """The quality of an answer, 0 to 1.

    1 if the countdown reward is 1. Otherwise, if the answer's expression uses every given number once and has the value
    v, NEAR / (1 + |v - target| / HALVING): 0.545 one off the target, 0.3 ten off, 0.1 fifty off. 0 if no expression
    can be read, or it has no value or uses other numbers.
    """
    verdict = score(answer, {"numbers": list(numbers), "target": target})
    if verdict.correct:
        return 1.0
    expression = read_expression(verdict.pred) if verdict.readable else None
    value = None if expression is None else expression.value()
    if expression is None or value is None or sorted(expression.numbers) != sorted(numbers):
        return 0.0
    return NEAR / (1.0 + float(abs(value - target)) / HALVING)


@cache
def evaluated_keys() -> frozenset[Key]:
    """The problems on which `run.py --data countdown` evaluates by default, in any profile."""
    spaces = (SPACE, Space())
    return frozenset(problem.key for space in spaces for problem in generate(_EVALUATED, 0, "test", space))


def write_toy(
    folder: Path,
    *,
    n_train: int = 1024,
    n_test: int = 128,
    seed: int = 0,
    n_answers: int = 4,
    solved_share: float = 0.75,
    exclude: Collection[Key] = (),
) -> Written:
    """Writes folder/train.parquet and folder/test.parquet, each with scored answers and as many instructions.

    Args:
        n_train, n_test: problems; each has n_answers different sampled answers.
        solved_share: the share of problems (exactly, rounded down) that also have a correct worked solution.
        exclude: more problems that may be in neither file; those of `evaluated_keys` never are.

    Raises:
        ValueError: for an invalid number or share, or if there are not enough problems.
    """
    if min(n_train, n_test) < 1 or not 2 <= n_answers <= _MOST_ANSWERS or not 0.0 <= solved_share <= 1.0:
        raise ValueError(
            f"n_train {n_train}, n_test {n_test}, n_answers {n_answers}, solved_share {solved_share}: must be at least "
            f"1, at least 1, 2 to {_MOST_ANSWERS}, and 0 to 1"
        )
    taken = {*exclude, *evaluated_keys()}
    rows: dict[str, list[Row]] = {}
    # The test file first: it does not depend on n_train.
    for split, n in (("test", n_test), ("train", n_train)):
        problems = generate(n, seed, f"preference {split}", SPACE, taken)
        answers = [
            row
            for index, problem in enumerate(problems)
            for row in _answers(problem, f"{split} {seed} {index}", n_answers, _solved(index, solved_share))
        ]
        lessons = generate(len(answers), seed, f"instruction {split}", INSTRUCTION_SPACE, taken)
        taken |= {problem.key for problem in (*problems, *lessons)}
        instructions = [
            _row(lesson, _solution(lesson), 1.0, "instruction", f"instruction-{index}")
            for index, lesson in enumerate(lessons)
        ]
        rows[split] = answers + instructions
    return write_split(folder, rows["train"], rows["test"])


def _solved(index: int, share: float) -> bool:
    """Whether problem `index` gets a solution: evenly spread, floor(n * share) of the first n."""
    return int((index + 1) * share) > int(index * share)


def _answers(problem: Problem, name: str, n: int, solved: bool) -> Iterator[Row]:
    draw = random.Random(f"{DATA_SOURCE} {name}")
    texts: dict[str, None] = {}
    while len(texts) < n:
        chain = _chain(draw, problem)
        texts.setdefault(chain.response if draw.randrange(_ONE_IN_BROKEN) else _broken(draw, chain))
    listed = list(texts)
    if solved and (solution := _solution(problem)) not in texts:
        listed.insert(draw.randrange(n + 1), solution)
    for text in listed:
        yield _row(problem, text, true_score(text, problem.numbers, problem.target), "score", f"problem-{name}")


def _chain(draw: random.Random, problem: Problem) -> Chain:
    """A chain over the problem's numbers, drawn regardless of its target, as in the tiny base's training."""
    while True:
        made = combine(draw, _CHAINS, problem.numbers)
        if made is not None:
            return Chain(problem.numbers, problem.target, *made)


def _broken(draw: random.Random, chain: Chain) -> str:
    """An unreadable answer: without answer tags, with an empty answer, or with half an expression."""
    thought = f"{''.join(chain.steps)}{THEREFORE}{chain.equation}"
    half = chain.equation.rpartition(" ")[0]
    return thought + ("", " </think>\n<answer> </answer>", f" </think>\n<answer> {half} </answer>")[draw.randrange(3)]


def _solution(problem: Problem) -> str:
    return to_row(problem, 0, "")["answer"]


def _row(problem: Problem, completion: str, score: float, feedback: str, group: str) -> Row:
    asked = prompt(problem.numbers, problem.target)
    return new_row([{"role": "user", "content": asked}], completion, score, feedback, group, DATA_SOURCE)
