"""Schedules and random draws. A draw depends only on (seed, step, prompt), so a resumed run repeats it."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAX_SEGMENTS = 5
"""Most segments a solution is divided into for scheduling ("Hint Length" L in table 1 of the UFT paper)."""


def cosine(t: int, end: int, high: float, low: float) -> float:
    """Half a cosine from `high` at t = 0 to `low` at t = `end`, then constant."""
    return low if t >= end else low + (high - low) * (1 + math.cos(math.pi * t / end)) / 2


def generator(seed: int, step: int, key: str) -> np.random.Generator:
    """Random generator of a prompt at a step. Not from Python's hash(), which differs between processes."""
    import numpy as np

    digest = hashlib.blake2b(f"{seed}|{step}|{key}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def sampling_seed(seed: int, step: int, key: str, rollout: int) -> int:
    """Sampling seed of a rollout in the inference engine; 31 bits, which every engine accepts."""
    digest = hashlib.blake2b(f"{seed}|{step}|{key}|{rollout}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
