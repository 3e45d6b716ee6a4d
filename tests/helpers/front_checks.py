"""What tests of the front door share: run.py as a person starts it, small experiments, the bytes of a folder."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import run
from data_prep.countdown import generate as countdown
from recipes.common.run_dir import RunDir, mark_complete, write_json, write_text
from recipes.flags.resolve import build_experiment
from recipes.run.spent import SPENT
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.saved import to_yaml
from tests import ROOT

EXAMPLES = ROOT / "examples/custom"
# filelock refuses a fork that another thread begins during one.
_FORKING = threading.Lock()


def front_door(*flags: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """run.py with these flags and variables, in a fork.

    A program of its own is `subprocess.run([sys.executable, "run.py", ...])`; it imports for a second or more.
    """

    def start() -> int:
        os.chdir(cwd)
        os.environ.update(env)
        return run.main(list(flags))

    return forked(start)


def forked(start: Callable[[], int]) -> subprocess.CompletedProcess[str]:
    """`start` and its exit code in a fork of this process: what it imports is there, and nothing here changes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with _FORKING:
            pid = os.fork()
        if pid == 0:
            code = 70
            try:
                sys.stdout, sys.stderr = out, err
                code = start()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                out.flush()
                err.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([], code, out.read(), err.read())


def small_folder(folder: Path) -> Path:
    """40 + 16 countdown problems."""
    countdown.prepare(folder, n_train=40, n_test=16, seed=0)
    return folder


def experiment(folder: Path, **flags: Any) -> Experiment:
    """Four steps on the CPU profile."""
    given = {"data": str(folder), "batch_size": 8, "T": 4, "T_hint": 2, "test_freq": 2, **flags}
    return build_experiment(given, PROFILES["cpu"])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but its lock."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != "run.lock")
    return {str(file): file.read_bytes() for file in files}


def finished_on_disk(run: RunDir, e: Experiment) -> None:
    """As a kill leaves it between the last checkpoint and done.json: weights whole, nothing published."""
    checkpoint = run.checkpoints / f"global_step_{e.T}"
    weights = checkpoint / "actor/huggingface"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    mark_complete(checkpoint, e.T)
    lines = [{"step": step, "time": 0.0, "data": {"val/acc": step / 10}} for step in (0, e.T)]
    write_text(run.metrics, "".join(json.dumps(line) + "\n" for line in lines))
    write_text(run.experiment, to_yaml(e))
    write_json(run.path / SPENT, {"seconds": 61.5, "peak_memory_bytes": 7})
