"""`python -m bench.served_runs`: what a run of two steps on the CPU takes with its own start, and on a server.

    python -m bench.served_runs [--rounds 2] [--out results/served_runs.json] [-- FLAGS OF run.py]

Own starts and served runs (recipes/verl_plugin/serve.py) are interleaved; both fork from a server of imports, as the
runs of a sweep do. Seconds of the whole command, and CPU seconds of all processes involved.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from recipes import ROOT
from recipes.common.run_dir import write_json
from recipes.verl_plugin.environment import CPU, python_path
from recipes.verl_plugin.serve import serving
from recipes.verl_plugin.serve_client import SERVE
from recipes.verl_plugin.warm_client import shared_server
from recipes.watch.scratch import short_folder

FLAGS = shlex.split("--algo uft --T 2 --T_hint 2 --seed 5 --test_freq 2 --batch_size 8 --val_size 16")


class Processor:
    """CPU seconds of all processes that this one has started, including those that have ended."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], float] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def seconds(self) -> float:
        for process in psutil.Process().children(recursive=True):
            try:
                spent = process.cpu_times()
                self._seen[process.pid, process.create_time()] = spent.user + spent.system
            except psutil.Error:
                continue
        return sum(self._seen.values())

    def _watch(self) -> None:
        while True:
            self.seconds()
            time.sleep(0.2)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("flags", nargs="*", help="of run.py, after --")
    arguments = parser.parse_args()
    flags = arguments.flags or FLAGS
    processor = Processor()
    found: dict[str, list[dict[str, float]]] = {"first of a server": [], "own start": [], "served": []}
    with (
        short_folder() as warm,
        short_folder() as folder,
        tempfile.TemporaryDirectory() as runs,
        shared_server(warm, {**CPU, **python_path()}),
        serving(folder) as server,
    ):
        for number, kind in enumerate(["own start", *found, *["own start", "served"] * (arguments.rounds - 1)]):
            began, spent = time.monotonic(), processor.seconds()
            command = [sys.executable, str(ROOT / "run.py"), "--profile", "cpu", "--out", f"{runs}/{number}"]
            env = os.environ if kind == "own start" else {**os.environ, SERVE: str(server)}
            subprocess.run([*command, *flags], check=True, env=env, stdout=subprocess.DEVNULL)
            seconds = {"seconds": time.monotonic() - began, "processor seconds": processor.seconds() - spent}
            if number:  # the very first run waits for the server of imports
                found[kind].append(seconds | {"load of the machine": os.getloadavg()[0]})
                print(kind, {name: round(value, 1) for name, value in found[kind][-1].items()}, flush=True)
    for kind, rows in found.items():
        medians = {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]}
        print(f"| {kind} | {medians['seconds']} | {medians['processor seconds']} |")
    if arguments.out:
        write_json(arguments.out, {"flags": flags, "cores": os.cpu_count(), **found})


if __name__ == "__main__":
    main()
