"""What a tiny countdown model can do: format, use of the numbers, arithmetic and accuracy on held-out problems.
Accuracy is judged by the same reward function as in training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from data_prep.countdown.generate import Problem, prompt
from reward_fns import compute_score

_LINE = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)\n")


@dataclass(frozen=True)
class Measured:
    """Shares in 0..1. `lines_right` is over the step lines written, the others are over the problems.

    format: readable answer in tags, followed by the end token in time. valid: uses every given number exactly once.
    """

    problems: int
    format: float
    valid: float
    lines_right: float
    accuracy: float


def measure(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    temperature: float,
    max_new_tokens: int = 64,
    seed: int = 0,
) -> Measured:
    """One completion per problem; temperature 0 is greedy."""
    torch.manual_seed(seed)
    finished = valid = hits = lines = right = 0
    for size in sorted({len(problem.numbers) for problem in problems}):
        group = [problem for problem in problems if len(problem.numbers) == size]
        prompts = [prompt(problem.numbers, problem.target) for problem in group]
        tokens = complete(model, torch.tensor(tokenizer(prompts)["input_ids"]), temperature, max_new_tokens)
        for problem, row in zip(group, tokens, strict=True):
            text = tokenizer.decode(row, skip_special_tokens=True)
            truth = {"numbers": list(problem.numbers), "target": problem.target}
            score = compute_score("countdown", text, truth)
            ended = bool((row == model.config.eos_token_id).any())
            finished += ended and score["format"] == 1.0
            valid += score["format"] == 1.0 and _numbers(str(score["pred"])) == sorted(problem.numbers)
            hits += score["acc"] == 1.0
            checks = [_is_right(*parts) for parts in _LINE.findall(text)]
            lines += len(checks)
            right += sum(checks)
    count = len(problems)
    return Measured(count, finished / count, valid / count, right / max(lines, 1), hits / count)


@torch.no_grad()
def complete(model: LlamaForCausalLM, prompts: Tensor, temperature: float, max_new_tokens: int) -> Tensor:
    """Completions (rows, up to max_new_tokens) of prompts (rows, length) of equal length, padded with eos."""
    eos = model.config.eos_token_id
    done = torch.zeros(len(prompts), dtype=torch.bool)
    tokens, cache, written = prompts, None, []
    for _ in range(max_new_tokens):
        output = model(input_ids=tokens, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logits = output.logits[:, -1].float()
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0]
        chosen = chosen.masked_fill(done, eos)
        written.append(chosen)
        done |= chosen == eos
        if done.all():
            break
        tokens = chosen[:, None]
    return torch.stack(written, dim=1)


def _numbers(expression: str) -> list[int]:
    return sorted(int(number) for number in re.findall(r"\d+", expression))


def _is_right(left: str, operator: str, right: str, result: str) -> bool:
    a, b, c = int(left), int(right), int(result)
    if operator == "/":
        return b != 0 and a == b * c
    return c == {"+": a + b, "-": a - b, "*": a * b}[operator]
