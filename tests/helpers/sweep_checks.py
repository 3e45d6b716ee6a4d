"""What the tests of sweeps share: a stand-in for run.py that copies a prepared run folder, and sweeps of it."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

import run
from recipes.commands.planned import Planned
from recipes.commands.sweep import planned_sweep
from recipes.commands.sweep_runs import carry_out
from recipes.common.run_dir import write_json, write_text
from recipes.run.launch import DONE
from recipes.settings.saved import to_yaml
from tests.helpers.run_folders import write_run


def flags(*words: str) -> dict[str, Any]:
    """What run.py hands to a sweep."""
    own, overrides = run._split(["--profile", "cpu", *words])
    found = vars(run.parser().parse_args(own))
    if overrides:
        found["overrides"] = tuple(overrides)
    for name in ("visible_devices", "eval", "sweep", "reproduce"):
        found.pop(name)
    return found


def names(*words: str) -> list[str]:
    return [each.name for each in planned_sweep(flags(*words))[1]]


# Does what <prepared>/<name>.does says, and notes down when it began and ended.
STAND_IN = """
import json, os, pathlib, shutil, sys, time
prepared, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
out = pathlib.Path(arguments[arguments.index("--out") + 1])
def note(what):
    seen = {"run": out.name, "what": what, "time": time.time(), "pid": os.getpid(), "resume": "--resume" in arguments,
            "devices": os.environ.get("CUDA_VISIBLE_DEVICES"), "threads": os.environ.get("OMP_NUM_THREADS")}
    with open(prepared / "events.jsonl", "a") as file:
        file.write(json.dumps(seen) + "\\n")
note("began")
does = (prepared / (out.name + ".does")).read_text()
print("at work on", out.name, flush=True)
out.mkdir(parents=True, exist_ok=True)
shutil.copy(prepared / out.name / "experiment.yaml", out)
if does == "fail later":
    shutil.copy(prepared / out.name / "metrics.jsonl", out)
if does.startswith("fail"):
    print("the cause: no bread")
    print("fix: buy some", flush=True)
    sys.exit(3)
time.sleep(60 if does == "hang" else 0.7)
shutil.copytree(prepared / out.name, out, dirs_exist_ok=True)
note("ended")
"""


def draw_quickly(folders: list[Path], out: Path, title: str) -> str:
    """Instead of the pictures, which take seconds."""
    write_text(out / "index.html", f"{title} {folders}")
    return ""


class Bench:
    """A sweep of prepared runs."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.prepared = folder / "sweep", folder / "prepared"
        self.prepared.mkdir()
        self.plan: list[Planned] = planned_sweep(flags(*words, "--out", str(self.folder)))[1]
        (folder / "stand_in.py").write_text(STAND_IN)
        self.program = [sys.executable, str(folder / "stand_in.py"), str(self.prepared)]
        for each in self.plan:
            settings = yaml.safe_load(to_yaml(each.experiment))
            write_run(self.prepared / each.name, settings, [2, 5 + each.experiment.seed], of=10)
            write_json(self.prepared / each.name / DONE, {})
            self.does(each.name, "finish")

    def does(self, name: str, what: str) -> None:
        (self.prepared / f"{name}.does").write_text(what)

    def carry_out(self, places: int = 1, shares: list[list[str] | None] | None = None) -> int:
        return carry_out(self.plan, self.folder, shares=shares or [None] * places, program=self.program)

    def events(self, what: str) -> list[dict[str, Any]]:
        file = self.prepared / "events.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [row for row in rows if row["what"] == what]

    def state(self) -> dict[str, dict[str, Any]]:
        return json.loads((self.folder / "sweep.json").read_text())["runs"]
