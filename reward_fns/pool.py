"""Killable worker processes for verifiers that may hang, crash or exhaust memory: symbolic mathematics, users' rewards.

    with Pool(workers=2, seconds=5) as pool:
        pool.call("reward_fns.math.equal:equivalent", "\\\\frac12", "0.5")      # Outcome(status="ok", value={...})
        pool.map("reward_fns.math.equal:equivalent", [(answer, gold), ...])
Threads may share a pool: each call takes one worker, and a worker serves one call at a time. A killed worker is
replaced at once; the new one imports its verifier while others serve. Arguments and values are passed as JSON.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "error", "timeout", "memory"]

# Importing a symbolic verifier takes seconds on a busy machine, which is not the answer's fault.
IMPORT_SECONDS = 120.0
# Normally the kernel's alarm ends a call first; this is for a worker that cannot even be woken.
_GRACE_SECONDS = 1.0
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one call: its value, or why there is none. seconds: wall-clock time in the worker, 0 if cached."""

    status: Status
    value: Any
    message: str
    seconds: float


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, memory_mb: int) -> None:
        # Our packages first, whatever is in the working folder.
        places = filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", ""), os.getcwd()])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reward_fns.worker", "--memory_mb", str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Its own process group: whatever a user's reward starts ends with it.
            start_new_session=True,
        )
        self.loaded: set[str] = set()
        self._loading = ""

    def load(self, function: str) -> None:
        """Starts importing what `function` needs, without waiting for it."""
        if self._send({"function": function, "import_seconds": IMPORT_SECONDS}):
            self._loading = function

    def call(self, function: str, args: Sequence[Any], seconds: float, cpu_seconds: float = 0.0) -> Outcome:
        """One call; afterwards `alive` says whether the worker can serve another."""
        if self._loading:
            # An import that fails here fails again below and is reported there.
            if "value" in (self._reply(time.monotonic() + IMPORT_SECONDS) or {}):
                self.loaded.add(self._loading)
            self._loading = ""
        started = time.monotonic()
        allowed = seconds + _GRACE_SECONDS + (0.0 if function in self.loaded else IMPORT_SECONDS)
        limits = {"seconds": seconds, "cpu_seconds": cpu_seconds, "import_seconds": IMPORT_SECONDS}
        try:
            sent = self._send({"function": function, "args": list(args), **limits})
        except (TypeError, ValueError) as error:
            return Outcome("error", None, f"arguments that JSON cannot hold: {error}"[:500], 0.0)
        reply = self._reply(started + allowed) if sent else None
        took = time.monotonic() - started
        if reply is None:
            self.kill()
            if self.process.returncode == -signal.SIGPROF:
                return Outcome("timeout", None, f"no verdict within {cpu_seconds:g} s of computing", took)
            if self.process.returncode == -signal.SIGALRM or took >= allowed:
                return Outcome("timeout", None, f"no verdict within {seconds:g} s", took)
            return Outcome("error", None, f"the reward's process ended with exit code {self.process.returncode}", took)
        self.loaded.add(function)
        if "value" in reply:
            return Outcome("ok", reply["value"], "", took)
        if "memory" in reply:
            self.kill()
            return Outcome("memory", None, "the reward ran out of memory", took)
        return Outcome("error", None, reply["error"], took)

    def _send(self, request: dict[str, Any]) -> bool:
        """Whether the request could be sent. Raises TypeError or ValueError for one that JSON cannot hold."""
        assert self.process.stdin is not None
        line = json.dumps(request).encode() + b"\n"
        with contextlib.suppress(OSError):
            self.process.stdin.write(line)
            self.process.stdin.flush()
            return True
        return False

    def _reply(self, deadline: float) -> dict[str, Any] | None:
        """The worker's next line; None if it ended or the deadline passed first."""
        assert self.process.stdout is not None
        received = bytearray()
        descriptor = self.process.stdout.fileno()
        poll = select.poll()  # not select.select, which refuses descriptors above 1023
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                return None
            received += piece
        found: dict[str, Any] = json.loads(received)
        return found

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Ends the process with its descendants and waits for it."""
        if self.process.poll() is None:
            # The kernel's alarm may be about to fire: keep its exit code.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Pool:
    """A fixed number of killable workers with a cache of their verdicts.

    Args:
        workers: processes, started when first needed.
        seconds: wall-clock limit per call (importing the verifier does not count).
        memory_mb: limit of a worker's data, in MiB.
        cache: number of calls whose outcomes are remembered (least recently used out first).
    """

    def __init__(self, workers: int = 2, seconds: float = 5.0, memory_mb: int = 2048, cache: int = 100_000) -> None:
        if workers < 1 or seconds <= 0 or memory_mb < 64 or cache < 0:
            raise ValueError(f"a pool needs workers >= 1, seconds > 0, memory_mb >= 64, cache >= 0, got {locals()}")
        self.workers, self.seconds, self.memory_mb = workers, seconds, memory_mb
        self.replaced = 0
        self._cache_size = cache
        self._cache: OrderedDict[tuple[str, str], Outcome] = OrderedDict()
        self._lock = threading.Lock()
        self._free = threading.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._closed = False

    def call(self, function: str, *args: Any, seconds: float | None = None, cpu_seconds: float = 0.0) -> Outcome:
        """Calls "module:function" with JSON arguments in a worker; never raises for what the function does.

        A user's "path/to/file.py:function" is called through reward_fns.custom.run; the file's top level has
        IMPORT_SECONDS.

        Args:
            seconds: a limit for this call instead of the pool's.
            cpu_seconds: a limit on the worker's CPU time, which a busy machine does not use up; 0 is none.
        """
        key = (function, json.dumps(args, sort_keys=True, default=repr))
        with self._lock:
            if (known := self._cache.get(key)) is not None:
                self._cache.move_to_end(key)
                return known
        with self._free:
            outcome = self._call_worker(function, args, seconds or self.seconds, cpu_seconds)
        if self._cache_size:
            with self._lock:
                self._cache[key] = Outcome(outcome.status, outcome.value, outcome.message, 0.0)
                if len(self._cache) > self._cache_size:
                    self._cache.popitem(last=False)
        return outcome

    def map(self, function: str, calls: Iterable[Sequence[Any]]) -> list[Outcome]:
        """The outcomes of many calls, in order; they run in parallel on all workers."""
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(lambda args: self.call(function, *args), calls))

    def _call_worker(self, function: str, args: Sequence[Any], seconds: float, cpu_seconds: float) -> Outcome:
        with self._lock:
            if self._closed:
                raise RuntimeError("this reward pool is closed")
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = _Worker(self.memory_mb)
        elif not worker.alive:  # something else ended it
            worker = self._successor(worker)
        outcome = worker.call(function, args, seconds, cpu_seconds)
        ready = worker.alive
        if not ready:
            worker = self._successor(worker)
            worker.load(function)
        with self._lock:
            if not self._closed:
                # A worker that is still loading is used last.
                self._idle.insert(len(self._idle) if ready else 0, worker)
                return outcome
        worker.kill()
        return outcome

    def _successor(self, worker: _Worker) -> _Worker:
        worker.kill()
        with self._lock:
            self.replaced += 1
        return _Worker(self.memory_mb)

    def close(self) -> None:
        """Ends all workers."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@lru_cache(maxsize=1)
def shared_pool() -> Pool:
    """The pool of this process, closed at its exit; configured by REWARD_WORKERS, REWARD_SECONDS, REWARD_MEMORY_MB.

    Raises:
        ValueError: names the variable whose value is not a number above 0.
    """
    pool = Pool(
        workers=int(_of_environment("REWARD_WORKERS", 2)),
        seconds=_of_environment("REWARD_SECONDS", 5),
        memory_mb=int(_of_environment("REWARD_MEMORY_MB", 4096)),
    )
    atexit.register(pool.close)
    return pool


def _of_environment(name: str, usual: int) -> float:
    said = os.environ.get(name, str(usual))
    with contextlib.suppress(ValueError):
        if 0 < (value := float(said)) < math.inf and (name == "REWARD_SECONDS" or value.is_integer()):
            return value
    kind = "a number" if name == "REWARD_SECONDS" else "a whole number"
    raise ValueError(f"{name}={said} in the environment: must be {kind} above 0, such as {usual}")
