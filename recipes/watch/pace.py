"""How long steps take and how much time a run has left, by the heartbeats' own clock."""

import statistics
from collections import deque

from recipes.watch.heartbeat import Heartbeat
from recipes.watch.shown import counted

STEPS = 20
"""How many steps, and validations, an estimate looks back on."""

_PAUSES = ("validating", "saving")


def duration(seconds: float) -> str:
    """A readable duration: "8 s", "4 min 10 s", "3 h 05 min"."""
    rounded = max(0, round(seconds))
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"


class Pace:
    """Seconds per step and, separately, per validation with its checkpoint: they occur at different intervals."""

    def __init__(self) -> None:
        self._last: Heartbeat | None = None
        self._step = self._pause = 0.0
        self._first: float | None = None
        self._steps: deque[float] = deque(maxlen=STEPS)
        self._pauses: deque[float] = deque(maxlen=STEPS)
        self._counted_from: tuple[float, float] | None = None

    def add(self, beat: Heartbeat) -> None:
        """Record a heartbeat; several steps between two heartbeats share the time evenly."""
        last, self._last = self._last, beat
        if self._counted_from is None and (count := counted(beat.metrics)):
            self._counted_from = beat.time, count[0]
        if last is None:
            return
        passed = beat.time - last.time
        if last.phase in _PAUSES:
            self._pause += passed
        elif last.phase != "starting":
            self._step += passed
        if (done := beat.step - last.step) > 0:
            self._finish(self._step / done, done)
            self._step = 0.0
        if self._pause and beat.phase not in _PAUSES:
            self._pauses.append(self._pause)
            self._pause = 0.0

    def _finish(self, seconds: float, count: int) -> None:
        if self._first is None and count == 1:
            # It includes set-up, which often takes as long as ten other steps.
            self._first = seconds
        else:
            self._steps.extend([seconds] * min(count, STEPS))

    @property
    def step_seconds(self) -> float | None:
        """The median duration of recent steps; the first step's while there is no other; None before it."""
        return statistics.median(self._steps) if self._steps else self._first

    def remaining(self, beat: Heartbeat) -> float | None:
        """Estimated seconds to the end of the last step, validations included; None before the second step."""
        if not self._steps:
            return None
        steps = statistics.median(self._steps) * max(0, beat.total_steps - beat.step)
        pause = statistics.median(self._pauses) if self._pauses else 0.0
        return steps + pause * _validations_left(beat)

    def counted_left(self, beat: Heartbeat) -> float | None:
        """Estimated seconds until everything counted within a step is done; None before the first items are."""
        count = counted(beat.metrics)
        if count is None or self._counted_from is None:
            return None
        (began, before), (done, total) = self._counted_from, count
        return (beat.time - began) * (total - done) / (done - before) if before < done < total else None


def _validations_left(beat: Heartbeat) -> int:
    """There is one every test_freq steps, and one after the last."""
    if not beat.test_freq or beat.step >= beat.total_steps:
        return 0
    return -(-beat.total_steps // beat.test_freq) - beat.step // beat.test_freq
