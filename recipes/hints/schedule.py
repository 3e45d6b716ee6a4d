"""Hint-length schedules: pure functions from (step, number of segments, randomness) to a number of segments.

Every draw is a function of (seed, step, prompt) alone, so a resumed run sees the hints it would have seen.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Segments a solution is divided into for scheduling ("Hint Length" L in table 1 of the UFT paper).
MAX_SEGMENTS = 5


@dataclass(frozen=True)
class HintStep:
    """What a schedule may look at: the training step (from 1), the hint horizon and the segments of one solution."""

    step: int
    T_hint: int
    n_segments: int


HintLength = Callable[[HintStep, np.random.Generator], int]
"""A schedule: how many of the n segments the rollouts of this prompt start from, 0..n."""


HintProbability = Callable[[int, int], float]
"""p(step, T_hint) of a binomial schedule."""


def generator(seed: int, step: int, key: str) -> np.random.Generator:
    """The random stream of one prompt at one step. Not Python's hash(), which differs between processes."""
    digest = hashlib.blake2b(f"{seed}|{step}|{key}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def sampling_seed(seed: int, step: int, key: str, rollout: int) -> int:
    """Seed of one rollout's sampling in the inference engine (31 bits, which every engine accepts)."""
    digest = hashlib.blake2b(f"{seed}|{step}|{key}|{rollout}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def cosine_probability(step: int, T_hint: int, p_low: float, p_high: float) -> float:
    """UFT equation B.1 with the step counted from 1: p_low + (p_high - p_low)(1 + cos(pi step / T_hint)) / 2.

    It falls from almost p_high at the first step to p_low at T_hint, and is 0 afterwards.
    """
    if step > T_hint:
        return 0.0
    return p_low + 0.5 * (p_high - p_low) * (1.0 + math.cos(math.pi * step / T_hint))


def binomial(at: HintStep, rng: np.random.Generator, *, probability: HintProbability) -> int:
    """UFT: k ~ Binomial(n, p(step))."""
    return int(rng.binomial(at.n_segments, probability(at.step, at.T_hint)))


def uniform(at: HintStep, rng: np.random.Generator) -> int:
    """R3: every length from none to all of the solution is as likely, at every step."""
    return int(rng.integers(0, at.n_segments + 1))


def staged(at: HintStep, rng: np.random.Generator) -> int:
    """Stage: n segments, then n - 1, ... one stage every T_hint / (n + 1) steps, none from T_hint on."""
    if at.step > at.T_hint:
        return 0
    stage_length = max(1, at.T_hint // (at.n_segments + 1))
    return max(0, at.n_segments - at.step // stage_length)
