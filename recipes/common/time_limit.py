"""A time limit on a user's file when it is tried before a start; counts only time spent in the file itself."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class OutOfTimeError(BaseException):
    """A user's file or hook did not finish. Not an Exception, so that their code does not catch it."""


_OURS = str(Path(__file__).parents[1])
_WAITS = 3
"""Wall-clock limit as a multiple of the CPU limit: machines are busy, file systems slow."""


@contextmanager
def time_limit(seconds: float = 60.0) -> Iterator[None]:
    """Raises OutOfTimeError inside the block after `seconds` of CPU time (or _WAITS times that by the clock), so that a
    user's file that never finishes cannot block a start. Main thread only. Prints a notice after a tenth of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    spent, at = [0.0, 0.0], _clocks()  # wall-clock and CPU time in the file's own lines
    told = False

    def over(_: int, frame: FrameType | None) -> None:
        nonlocal at, told
        place, now = _own_place(frame), _clocks()
        passed, at = [later - before for later, before in zip(now, at, strict=True)], now
        if place is None:  # in an import, which may be slow and must not be interrupted
            return
        spent[:] = [sum(pair) for pair in zip(spent, passed, strict=True)]
        if spent[0] >= _WAITS * seconds or spent[1] >= seconds:
            raise OutOfTimeError(f"did not finish within {seconds:g} s")
        if not told:
            print(f"{place}: not finished yet; waiting up to {seconds:g} s", file=sys.stderr)
        told = True

    before = signal.signal(signal.SIGALRM, over)
    # Repeatedly, for a loop that catches the exception.
    signal.setitimer(signal.ITIMER_REAL, seconds / 10, seconds / 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _own_place(frame: FrameType | None) -> str | None:
    """The current line of a user's file, skipping frames of Python, installed packages and this repository; None during
    imports."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if not file.startswith(("<", sys.prefix, sys.base_prefix, _OURS)):
            return f"{file}, line {frame.f_lineno}"
        frame = frame.f_back
    return None
