"""One worker process of the reward pool: `python -m reward_fns.worker`. Reads one call and writes one reply per line.

The kernel kills it when a call takes too long (SIGALRM and SIGPROF with their default action, so that no Python code
has to run), and memory is limited, so that no verifier outlives its limits, even if the parent is gone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from reward_fns.verdict import reason


def resolve(name: str) -> Callable[..., Any]:
    """The function named "package.module:function", or the reward in a user's "path/to/file.py:function"."""
    module, _, function = name.rpartition(":")
    if module.endswith(".py"):
        from reward_fns import custom

        custom.load(name)
        return partial(custom.run, name)
    found = getattr(importlib.import_module(module), function)
    if not callable(found):
        raise TypeError(f"{name} is not a function")
    return cast(Callable[..., Any], found)


def _limit(seconds: float, cpu_seconds: float = 0.0) -> None:
    """End this process after this many seconds, or seconds of CPU time; 0 is no limit."""
    # Reset every time: the code called may have changed it.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to {"function", "args", "seconds", "cpu_seconds", "import_seconds"}: a "value", "error" or "memory".

    Without "args" the function is imported and not called.
    """
    try:
        _limit(request["import_seconds"])
        function = resolve(request["function"])
        if "args" not in request:
            return {"value": None}
        _limit(request["seconds"], request["cpu_seconds"])
        value = function(*request["args"])
        _limit(0)
        return {"value": value}
    except MemoryError:
        return {"memory": True}
    except Exception as error:  # whatever the verifier raises concerns this answer, not the run
        return {"error": reason(error)}
    finally:
        _limit(0)


def main() -> None:
    """Serves calls until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory_mb", type=int, required=True)
    memory = parser.parse_args().memory_mb * 1024**2
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    # Replies use a separate descriptor, so that a verifier that prints cannot corrupt them.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        reply = answer(json.loads(line))
        try:
            text = json.dumps(reply)
        except (TypeError, ValueError) as error:
            text = json.dumps({"error": f"the reward returned a value that JSON cannot hold: {error}"[:500]})
        replies.write(text + "\n")
        replies.flush()
        if "memory" in reply:
            break  # this process may be damaged; the parent starts another


if __name__ == "__main__":
    main()
