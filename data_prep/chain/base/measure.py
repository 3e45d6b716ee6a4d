"""What a chain base can do on problems of one depth: pass@1 and pass@k, greedy accuracy, correct steps; and whether it
follows a given solution. Judged by the same reward function as in training."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from data_prep.chain.base.texts import shown_prompt
from data_prep.chain.problem import Problem, step
from data_prep.chain.rows import lines, prompt, to_row
from data_prep.tiny_base.measure import complete
from reward_fns import compute_score

_STEP = re.compile(r"state (\d+): (\d+)\n")


@dataclass(frozen=True)
class Measured:
    """Shares in 0..1. pass_k: at least one of k = `samples` is correct. steps_right: of sampled lines, given the
    previous line. format: of samples. half_given: sampled accuracy with half of the solution given in the response;
    half_shown, all_shown: with half or all of it shown in the question."""

    problems: int
    samples: int
    pass_1: float
    pass_k: float
    greedy: float
    steps_right: float
    format: float
    half_given: float
    half_shown: float
    all_shown: float


def measure(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    samples: int,
    seed: int = 0,
) -> Measured:
    """Measures on problems of one depth; samples are at temperature 1."""
    torch.manual_seed(seed)
    depth = problems[0].space.depth
    half = depth // 2

    def answers(prompts: list[str], given: list[str], temperature: float) -> list[str]:
        asked = torch.tensor(
            [[*tokenizer.encode(a), *tokenizer.encode(b)] for a, b in zip(prompts, given, strict=True)]
        )
        tokens = complete(model, asked, temperature, max_new_tokens=3 * depth + 8)
        texts: list[str] = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [begun + text for begun, text in zip(given, texts, strict=True)]

    def right(texts: list[str], asked: Sequence[Problem]) -> list[float]:
        found = []
        for text, problem in zip(texts, asked, strict=True):
            row = to_row(problem, 0, "test")
            found.append(float(compute_score("chain", text, row["reward_model"]["ground_truth"])["acc"]))
        return found

    repeated = [problem for problem in problems for _ in range(samples)]
    bare = [prompt(problem) for problem in problems]
    sampled = answers([prompt(problem) for problem in repeated], [""] * len(repeated), 1.0)
    hits = right(sampled, repeated)
    formats = [
        float(compute_score("chain", text, to_row(p, 0, "test")["reward_model"]["ground_truth"])["format"])
        for text, p in zip(sampled, repeated, strict=True)
    ]
    begun = ["".join(lines(problem.solution[:half])) for problem in problems]
    shown = {
        frame: right(answers([shown_prompt(p, frame, half) for p in problems], [""] * len(problems), 1.0), problems)
        for frame in ("prefix", "solution")
    }
    return Measured(
        problems=len(problems),
        samples=samples,
        pass_1=_mean(hits),
        pass_k=_mean([max(hits[at : at + samples]) for at in range(0, len(hits), samples)]),
        greedy=_mean(right(answers(bare, [""] * len(bare), 0.0), problems)),
        steps_right=_mean([ok for text, p in zip(sampled, repeated, strict=True) for ok in _steps(text, p)]),
        format=_mean(formats),
        half_given=_mean(right(answers(bare, begun, 1.0), problems)),
        half_shown=_mean(shown["prefix"]),
        all_shown=_mean(shown["solution"]),
    )


def _steps(text: str, problem: Problem) -> list[float]:
    """Whether each line written follows from the previous line, right or wrong."""
    before, found = problem.start, []
    for number, (said, state) in enumerate(_STEP.findall(text)[: len(problem.inputs)], start=1):
        follows = int(said) == number and before < problem.space.states
        found.append(float(follows and int(state) == step(problem.space, before, problem.inputs[number - 1])))
        before = int(state)
    return found


def _mean(values: Sequence[float]) -> float:
    return round(math.fsum(values) / max(1, len(values)), 4)
