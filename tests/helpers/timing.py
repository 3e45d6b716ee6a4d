"""How long a call takes, told so that a busy machine does not decide a test."""

import time
from collections.abc import Callable


def quickest(call: Callable[[], object], bound: float, tries: int = 5) -> float:
    """CPU seconds of the fastest of up to `tries` calls; stops at the first one under `bound` seconds.

    A collection of garbage or a cold cache makes one call slow, never all of them; a slow algorithm does.
    """
    best = float("inf")
    for _ in range(tries):
        started = time.process_time()
        call()
        best = min(best, time.process_time() - started)
        if best < bound:
            break
    return best
