"""A dead inference engine hangs verl for good; a run here ends by itself, names the cause and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.watch.processes import name_of, processes_of
from tests.e2e.support import ROOT, metrics

pytestmark = pytest.mark.e2e


def test_a_killed_engine_ends_the_run_with_its_name(tmp_path: Path, small_data: Path) -> None:
    out = tmp_path / "run"
    flags = ["--algo", "rft", "--T", "50", "--batch_size", "8", "--test_freq", "50", "--data", str(small_data)]
    command = [sys.executable, str(ROOT / "run.py"), "--profile", "cpu", "--out", str(out), *flags]
    front = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    limit = time.time() + 400
    while 2 not in metrics(out):
        assert front.poll() is None, (out / "log.txt").read_text()[-3000:]
        assert time.time() < limit
        time.sleep(0.2)
    (engine,) = [process for process in processes_of(out) if "EngineCore" in name_of(process)]
    os.kill(engine.pid, signal.SIGKILL)
    said, _ = front.communicate(timeout=180)
    assert front.returncode not in (0, None)
    assert re.search(r"EngineCore|engine died", said), said[-2000:]
    assert "--resume" in said
    assert processes_of(out) == []
