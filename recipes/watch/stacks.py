"""Where a hung Python process waits: the stack of its main thread.
Read with py-spy if it is installed and permitted, else with the process's own faulthandler."""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from recipes.watch.heartbeat import LogFollower
from recipes.watch.tracebacks import bare_lines

_PY_SPY_THREAD = re.compile(r'^Thread \S+ .*?"?(?P<name>\w+)"?$')
_FAULT_THREAD = re.compile(r"(?:Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):")
_FAULT_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>.+)$')
_PY_SPY_FRAME = re.compile(r"^\s+(?P<function>\S.*?) \((?P<file>[^()]+):(?P<line>\d+)\)$")


def main_thread_stack(pid: int, log: LogFollower, faulthandler: bool, wait_s: float = 5.0) -> list[str]:
    """The main thread's frames, innermost first, as "function (file:line)"; empty if they cannot be read.

    `faulthandler`: the process dumps its stacks to the log on SIGUSR1. Without it the signal would kill the process.
    """
    return _by_py_spy(pid, wait_s * 4) or (_by_faulthandler(pid, log, wait_s) if faulthandler else [])


def _by_py_spy(pid: int, limit_s: float) -> list[str]:
    beside_python = Path(sys.executable).with_name("py-spy")
    program = str(beside_python) if beside_python.exists() else shutil.which("py-spy")
    if not program:
        return []
    try:
        command = [program, "dump", "--pid", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    frames: list[str] = []
    inside = False
    for line in done.stdout.splitlines():
        if thread := _PY_SPY_THREAD.match(line):
            inside = thread["name"] == "MainThread"
        elif inside and (frame := _PY_SPY_FRAME.match(line)):
            frames.append(_frame(frame))
    return frames


def _by_faulthandler(pid: int, log: LogFollower, wait_s: float) -> list[str]:
    log.new_lines()
    with suppress(psutil.Error):
        psutil.Process(pid).send_signal(signal.SIGUSR1)
    lines: list[str] = []
    limit = time.monotonic() + wait_s
    while time.monotonic() < limit:
        fresh = log.new_lines()
        lines += fresh
        # A dump is written at once, but Ray forwards a worker's output in pieces: stop at the first silence after it.
        if not fresh and any(_FAULT_FRAME.match(line) for _, line in bare_lines("\n".join(lines))):
            break
        time.sleep(0.3)
    return _last_thread("\n".join(lines))


def _last_thread(dump: str) -> list[str]:
    """The frames of the thread that faulthandler lists last: the main thread, which is the oldest."""
    frames: list[str] = []
    for _, line in bare_lines(dump):
        if _FAULT_THREAD.search(line):
            frames = []
        elif frame := _FAULT_FRAME.match(line):
            frames.append(_frame(frame))
    return frames


def _frame(match: re.Match[str]) -> str:
    return f"{match['function']} ({Path(match['file']).name}:{match['line']})"
