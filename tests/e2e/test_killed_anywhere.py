"""kill -9 at ten random moments of real runs, then --resume: the texts, metrics and weights of a run without a kill."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import psutil
import pytest

from recipes.watch.processes import processes_of
from tests.e2e.support import ROOT, UFT, expect_same_run, run

pytestmark = [pytest.mark.e2e, pytest.mark.extended]

KILLS, STEPS = 10, 6


def killed_at(moment: float, out: Path, *flags: str, front_alone: bool) -> bool:
    """Go on with a run and kill it after `moment` seconds; False if it had finished by then."""
    command = [sys.executable, str(ROOT / "run.py"), "--profile", "cpu", "--out", str(out), *flags, "--resume"]
    said = out.with_suffix(".txt")
    with said.open("w") as file:
        front = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        front.wait(moment)
    except subprocess.TimeoutExpired:
        for process in [psutil.Process(front.pid), *([] if front_alone else processes_of(out))]:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        front.wait()
        return True
    assert front.returncode == 0, said.read_text()[-3000:]
    return False


def test_runs_killed_at_random_moments_end_as_if_nothing_had_happened(tmp_path: Path, small_data: Path) -> None:
    flags = (*UFT, "--data", str(small_data), "--own_texts", "0", "--stall_minutes", "8")
    began = time.monotonic()
    run(tmp_path / "whole", *flags)
    took, draw, names = time.monotonic() - began, random.Random(5), count()
    out, kills, moments = tmp_path / str(next(names)), 0, []
    while kills < KILLS:
        moments.append(round(draw.uniform(0, took), 1))
        # Every other time what the command had started lives on, until the next one ends it.
        if killed_at(moments[-1], out, *flags, front_alone=kills % 2 == 1):
            kills += 1
            continue
        expect_same_run(out, tmp_path / "whole", but=range(STEPS + 1))
        out = tmp_path / str(next(names))
    print(f"killed after {moments} s of {took:.1f}")
    run(out, *flags, "--resume")
    expect_same_run(out, tmp_path / "whole", but=range(STEPS + 1))
    assert not processes_of(out)
