"""A limit to what a user's file may take before a start, of its own time alone."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class OutOfTimeError(BaseException):
    """A user's file or hook did not come to an end. No Exception, which their own code may catch."""


_OURS = str(Path(__file__).parents[1])
_WAITS = 3
"""Times as long as it may compute a user's file may take by the clock: machines are busy, file systems slow."""


@contextmanager
def time_limit(seconds: float = 60.0) -> Iterator[None]:
    """Raises OutOfTimeError inside the block after so long on the processor (or _WAITS times as long by the clock), in
    the main thread of a process: a user's file is tried before a start, and one that never ends must not hold it up for
    ever. A tenth of the time before, says so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    spent, at = [0.0, 0.0], _clocks()  # by the clock and on the processor, in the file's own lines
    told = False

    def over(_: int, frame: FrameType | None) -> None:
        nonlocal at, told
        place, now = _own_place(frame), _clocks()
        passed, at = [later - before for later, before in zip(now, at, strict=True)], now
        if place is None:  # in an import, which takes its time, and which an exception would leave half done
            return
        spent[:] = [sum(pair) for pair in zip(spent, passed, strict=True)]
        if spent[0] >= _WAITS * seconds or spent[1] >= seconds:
            raise OutOfTimeError(f"has not come to an end after {seconds:g} s")
        if not told:
            print(f"{place}: has not come to an end; waiting up to {seconds:g} s for it", file=sys.stderr)
        told = True

    before = signal.signal(signal.SIGALRM, over)
    # Again and again, for a loop that catches what ends it.
    signal.setitimer(signal.ITIMER_REAL, seconds / 10, seconds / 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _own_place(frame: FrameType | None) -> str | None:
    """Where in a user's file a process is: not in one of Python's, an installed package's or ours; None while it
    imports one of these."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if not file.startswith(("<", sys.prefix, sys.base_prefix, _OURS)):
            return f"{file}, line {frame.f_lineno}"
        frame = frame.f_back
    return None
