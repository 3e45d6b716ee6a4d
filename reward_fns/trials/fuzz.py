"""Random and adversarial responses by the hundred thousand: no exception, no hang, no reward for a wrong answer."""

from __future__ import annotations

import importlib
import random
import time
from collections import Counter
from dataclasses import dataclass

from reward_fns.registry import load_verifier
from reward_fns.trials.selftest import agrees, judged

# The tasks with a fuzz_<task>.py: those whose reward is trained on.
FUZZED = ("chain", "countdown", "kk_logic", "math")
# No response may take longer than this.
SLOW_SECONDS = 2.0


@dataclass(frozen=True)
class Fuzzed:
    """The result of fuzzing one task. failures: wrong verdicts and errors. slow: responses over SLOW_SECONDS."""

    task: str
    trials: int
    verdicts: dict[str, int]
    failures: tuple[str, ...]
    slow: tuple[str, ...]
    slowest: float
    seconds: float

    def line(self) -> str:
        """One line for the terminal and for records."""
        verdicts = ", ".join(f"{count:,} {name}" for name, count in sorted(self.verdicts.items()))
        return (
            f"{self.task}: {self.trials:,} trials in {self.seconds:.0f} s ({verdicts}); {len(self.failures)} wrong "
            f"verdicts, {len(self.slow)} over {SLOW_SECONDS:g} s, slowest {self.slowest:.3f} s"
        )


def fuzz(task: str, n: int, seed: int) -> Fuzzed:
    """Judges `n` trials drawn by reward_fns/trials/fuzz_<task>.py from `seed`."""
    sample = importlib.import_module(f"reward_fns.trials.fuzz_{task}").sample
    draw = random.Random(f"fuzz {task} {seed}")
    load_verifier(task)
    verdicts: Counter[str] = Counter()
    failures: list[str] = []
    slow: list[str] = []
    slowest = 0.0
    started = time.perf_counter()
    for number in range(n):
        trial = sample(draw)
        before = time.perf_counter()
        verdict = judged(task, trial)
        took = time.perf_counter() - before
        slowest = max(slowest, took)
        if took > SLOW_SECONDS:
            slow.append(f"trial {number}: {took:.1f} s: {trial.why}")
        verdicts[verdict] += 1
        if not agrees(verdict, trial.label):
            shown = (
                trial.response if len(trial.response) < 200 else trial.response[:80] + " ... " + trial.response[-80:]
            )
            failures.append(f"trial {number}: {verdict} instead of {trial.label}: {trial.why}: {shown!r}")
    return Fuzzed(task, n, dict(verdicts), tuple(failures), tuple(slow), slowest, time.perf_counter() - started)
