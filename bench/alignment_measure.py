"""How alignment on the synthetic set changed a model, measured the same way for every method."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.countdown.generate import generate, prompt
from data_prep.preference.schema import read_rows
from data_prep.preference.toy import SPACE, true_score
from data_prep.preference.views import instructions, pairs
from data_prep.tiny_base.chains import ChainSettings, own_texts
from data_prep.tiny_base.measure import complete
from eval.own_texts import Row, log_probs, nll
from recipes.common.run_dir import RunDir, read_metrics
from reward_fns import compute_score

# Problems of `--data countdown`'s test file on the CPU profile, in no training file.
PROBLEMS = 256
SAMPLES = 4
OWN_TEXTS = 512


@dataclass(frozen=True)
class Measured:
    """One model. Nats are natural-logarithm units."""

    accuracy: float
    """Share of held-out problems whose greedy answer is correct."""

    sampled_score: float
    """Mean true score, 0 to 1, of answers sampled at temperature 1: the label of the scored rows."""

    sampled_reward: float
    """Mean reward of the same answers as ppo and una_online see it: 1 correct, 0.1 readable, 0 unreadable."""

    kl: float
    """KL(pi || base) per answer in nats: mean of log pi - log base over answers sampled from pi."""

    kl_error: float
    """Standard error of `kl`."""

    pairs_ranked: float
    """Share of the test file's pairs whose better answer gained more over the base (a tie counts half)."""

    forgetting: float
    """Nats per token by which texts from the base's own training distribution became less likely."""

    instruction_nll: float
    """Nats per token of held-out worked solutions with four numbers."""


@dataclass(frozen=True)
class Cost:
    """What a run cost."""

    training_seconds: float
    """In training steps only: no start-up, no validation."""

    step_seconds: float
    """Median step after the second."""

    seconds: float
    """From start to end."""

    peak_memory_bytes: int
    """Sum over its processes."""

    def after(self, earlier: "Cost") -> "Cost":
        """The cost of two consecutive runs; step_seconds is the second's."""
        return Cost(
            self.training_seconds + earlier.training_seconds,
            self.step_seconds,
            self.seconds + earlier.seconds,
            max(self.peak_memory_bytes, earlier.peak_memory_bytes),
        )


def cost(folder: Path) -> Cost:
    """The cost of a finished run, from its records."""
    summary = json.loads(RunDir(folder).summary.read_text(encoding="utf-8"))
    steps = {row["step"]: row["data"].get("timing_s/step") for row in read_metrics(RunDir(folder).metrics)}
    taken = {step: seconds for step, seconds in steps.items() if seconds is not None}
    median = statistics.median(seconds for step, seconds in taken.items() if step > 2)
    return Cost(sum(taken.values()), median, summary["seconds"], summary["peak_memory_bytes"])


def measure(model: Path, base: Path, data: Path) -> Measured:
    """Measure a folder of weights, with the same problems, texts and random numbers for every model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    policy, reference = (AutoModelForCausalLM.from_pretrained(each, dtype=torch.float32) for each in (model, base))
    problems = generate(PROBLEMS, 0, "test", SPACE)
    asked = [prompt(problem.numbers, problem.target) for problem in problems]
    prompts = torch.tensor(tokenizer(asked)["input_ids"])
    greedy = _judge(tokenizer, complete(policy, prompts, 0.0, 64), problems)
    torch.manual_seed(0)
    drawn = complete(policy, prompts.repeat(SAMPLES, 1), 1.0, 64)
    sampled = _judge(tokenizer, drawn, problems * SAMPLES)
    answers = [_until_end(answer, policy.config.eos_token_id) for answer in drawn]
    rows = list(zip(prompts.repeat(SAMPLES, 1).tolist(), answers, strict=True))
    ratios = log_probs(policy, rows) - log_probs(reference, rows)

    def encode(asked: str, answer: str) -> Row:
        return tokenizer.encode(asked), [*tokenizer.encode(answer), tokenizer.eos_token_id]

    held_out = read_rows(data / "test.parquet")
    compared: list[Any] = pairs(held_out)
    better, worse = (
        [encode(pair["prompt"][0]["content"], pair[side]) for pair in compared] for side in ("chosen", "rejected")
    )
    ahead = log_probs(policy, better) - log_probs(reference, better)
    ahead -= log_probs(policy, worse) - log_probs(reference, worse)
    own = [encode(*text) for text in own_texts(ChainSettings(), OWN_TEXTS, "bench.alignment")]
    lessons = [encode(each["prompt"][0]["content"], each["completion"]) for each in instructions(held_out)]
    return Measured(
        accuracy=statistics.fmean([score["acc"] for score, _ in greedy]),
        sampled_score=statistics.fmean([value for _, value in sampled]),
        sampled_reward=statistics.fmean([score["score"] for score, _ in sampled]),
        kl=float(ratios.mean()),
        kl_error=float(ratios.std() / len(ratios) ** 0.5),
        pairs_ranked=float(((ahead > 0).double() + 0.5 * (ahead == 0).double()).mean()),
        forgetting=nll(policy, own) - nll(reference, own),
        instruction_nll=nll(policy, lessons),
    )


def _judge(tokenizer: Any, answers: torch.Tensor, problems: list[Any]) -> list[tuple[dict[str, Any], float]]:
    """Reward and true score of each answer."""
    found = []
    for row, problem in zip(answers, problems, strict=True):
        text = tokenizer.decode(row, skip_special_tokens=True)
        truth = {"numbers": list(problem.numbers), "target": problem.target}
        found.append((compute_score("countdown", text, truth), true_score(text, problem.numbers, problem.target)))
    return found


def _until_end(answer: torch.Tensor, eos: int) -> list[int]:
    """The sampled tokens, up to and including the first end token."""
    tokens = answer.tolist()
    return tokens[: tokens.index(eos) + 1] if eos in tokens else tokens
