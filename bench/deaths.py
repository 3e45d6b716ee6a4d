"""`python -m bench.deaths`: kills or stops a process of real runs on the CPU; reports when and how each run ended.

    python -m bench.deaths [--only "kill engine,stop worker update"] [--out results/deaths_cpu.json]

A trial takes one to four minutes. Starts share their imports, as in a sweep.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from eval.reporting.cells import Table, markdown
from recipes import ROOT
from recipes.common.run_dir import read_json, write_json
from recipes.verl_plugin.environment import CPU, python_path
from recipes.verl_plugin.warm_client import shared_server
from recipes.watch.heartbeat import read_heartbeat
from recipes.watch.processes import name_of, processes_of
from recipes.watch.scratch import short_folder

VICTIMS = {
    "engine": "EngineCore",
    "worker": "WorkerDict",
    "raylet": "^raylet$",
    "gcs": "^gcs_server$",
    "reward": "RewardLoopWorker",
    "trainer": "UnifiedTaskRunner",
}
MOMENTS = ("starting", "rollout", "update", "saving")
SETTLED = 3
"""Steps before a trial in mid-run: every phase has been seen twice."""

FLAGS = (
    *("--algo", "uft", "--data", "countdown", "--profile", "cpu", "--T", "16", "--T_hint", "16", "--batch_size", "8"),
    *("--n_rollout", "2", "--val_size", "8", "--test_freq", "1", "--save_freq", "1", "--own_texts", "0"),
)


@dataclass(frozen=True)
class Trial:
    """What is done to which process of a run, and when; `how` is kill or stop."""

    how: str
    victim: str
    moment: str

    def __str__(self) -> str:
        return f"{self.how} {self.victim} {self.moment}"


def trials() -> Iterator[Trial]:
    """Every process killed at every moment, and stopped while it is working."""
    for victim in VICTIMS:
        for moment in MOMENTS:
            yield Trial("kill", victim, moment)
    for victim, moment in (
        *(("engine", "rollout"), ("worker", "update"), ("raylet", "rollout"), ("gcs", "rollout")),
        *(("reward", "rollout"), ("trainer", "update")),
    ):
        yield Trial("stop", victim, moment)


def carry_out(trial: Trial, out: Path) -> dict[str, Any]:
    """Start a run, do it, wait for the end."""
    command = [sys.executable, str(ROOT / "run.py"), *FLAGS, "--out", str(out)]
    front = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    victim = _victim_at(trial, out, front)
    before = read_heartbeat(out)
    victim.send_signal(signal.SIGKILL if trial.how == "kill" else signal.SIGSTOP)
    began = time.monotonic()
    said, _ = front.communicate()
    left = processes_of(out)
    return {
        **asdict(trial),
        "phase": before.phase if before else "starting",
        "seconds": round(time.monotonic() - began, 1),
        "exit code": front.returncode,
        "said": next((line for line in reversed(said.splitlines()) if line.startswith("uft on")), said[-500:]),
        "left behind": len(left),
    }


def _victim_at(trial: Trial, out: Path, front: subprocess.Popen[str]) -> psutil.Process:
    """The process, as soon as the moment has come."""
    found: psutil.Process | None = None
    while front.poll() is None:
        beat = read_heartbeat(out)
        if found is None and (trial.moment == "starting" or (beat and beat.step >= SETTLED - 1)):
            found = _named(VICTIMS[trial.victim], out)
        if found is not None and (
            trial.moment == "starting" or (beat and beat.step >= SETTLED and beat.phase == trial.moment)
        ):
            return found
        time.sleep(0.01)
    raise RuntimeError(f"{trial}: the run ended before: {front.communicate()[0][-1000:]}")


def _named(pattern: str, out: Path) -> psutil.Process | None:
    with suppress(psutil.Error):
        return next((each for each in processes_of(out) if re.search(pattern, name_of(each))), None)
    return None


def table(found: list[dict[str, Any]]) -> str:
    """A row per process and what was done to it: seconds until the command ended and its exit code, by moment."""
    rows: dict[str, dict[str, str]] = {}
    for row in found:
        ended = f"{row['seconds']:.0f} s, {row['exit code']}"
        rows.setdefault(f"{row['how']} {row['victim']}", {})[row["moment"]] = ended
    cells = tuple((name, *(of.get(moment, "") for moment in MOMENTS)) for name, of in rows.items())
    return markdown(Table(("", *MOMENTS), cells))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only trials whose names start with one of these, comma-separated")
    parser.add_argument("--out", type=Path, help="file to add the results to")
    arguments = parser.parse_args()
    wanted = [each for each in trials() if str(each).startswith(tuple(arguments.only.split(",")))]
    found: list[dict[str, Any]] = read_json(arguments.out).get("trials", []) if arguments.out else []
    with (
        short_folder() as warm,
        tempfile.TemporaryDirectory() as runs,
        shared_server(warm, {**CPU, **python_path()}),
    ):
        for number, trial in enumerate(wanted, 1):
            print(f"{number} of {len(wanted)}: {trial}", flush=True)
            row = carry_out(trial, Path(runs) / str(number))
            print(f"  {row['seconds']} s, exit code {row['exit code']}: {row['said']}", flush=True)
            found = [each for each in found if Trial(each["how"], each["victim"], each["moment"]) != trial] + [row]
            if arguments.out:
                write_json(arguments.out, {"flags": list(FLAGS), "cores": os.cpu_count(), "trials": found})
    print(table(found))


if __name__ == "__main__":
    main()
