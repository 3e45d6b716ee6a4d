"""What the tests of the watchdog share: small trainers that crash, hang, fork and refuse to end."""

import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from recipes.watch.processes import processes_of
from recipes.watch.signs import Limits
from recipes.watch.supervise import Outcome, supervise

FAST = Limits(
    startup_minutes=0.5,
    vital_death_s=0.4,
    error_s=0.4,
    shutdown_s=0.3,
    end_grace_s=0.4,
    poll_s=0.03,
    scan_s=0.06,
    memory_s=0.1,
)
# Longer than a slow machine may make a fake step, shorter than the runs that have to survive.
PATIENT = replace(FAST, vital_death_s=1.0, error_s=1.0)

# What every fake trainer begins with.
PRELUDE = r"""
import ctypes, json, os, signal, subprocess, sys, time
run_dir = os.environ["UFT_RUN_DIR"]

def beat(step, phase="update", **more):
    state = {"step": step, "total_steps": 4, "phase": phase, "time": time.time(), "metrics": {"val/acc": step / 4}}
    with open(run_dir + "/part", "w") as file:
        json.dump(state | more, file)
    os.replace(run_dir + "/part", run_dir + "/progress.json")

def child(code, **more):
    return subprocess.Popen([sys.executable, "-c", code], **more)

def worker(name):  # one that has its title, as setproctitle gives it, when this returns
    title = f"import ctypes; ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0); print('up', flush=True)\n"
    process = child(title + NAP, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process

NAP = "import time; time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n" + NAP
"""


def trainer(code: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(code)]


def watch(
    run_dir: Path, code: str, *, stall_minutes: float = 0.5, limits: Limits = FAST, helpers: Path | None = None
) -> Outcome:
    outcome = supervise(
        trainer(code),
        {},
        run_dir,
        stall_minutes=stall_minutes,
        total_steps=4,
        title="uft",
        limits=limits,
        helpers=helpers,
    )
    assert processes_of(run_dir) == []
    return outcome


def wait_until(ready: Callable[[], bool], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.02)
