"""A trainer that takes milliseconds, in the place of a stage's process: it writes what the real ones write, by the same
functions, and its weights are a function of all steps before them. And a kill before any of its system calls."""

import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eval.evaluate import RESULTS
from recipes.common import switch
from recipes.common.records import Records
from recipes.common.run_dir import RunDir, checkpoint_step, complete_checkpoints, publish, read_metrics
from recipes.data import data_check
from recipes.run import evaluate_stage, launch
from recipes.run.run_stage import Stage
from recipes.run.spent import SPENT
from recipes.run.stages import EVALUATE_FILE, VERL_FILE
from recipes.settings.experiment import Experiment
from recipes.trl_plugin.plan import PLAN_FILE, TrainingPlan, read_plan
from recipes.watch.signals import Stopped, stopping
from recipes.watch.supervise import Outcome
from tests.helpers.front_checks import forked

CHANGES = {"os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.truncate"}
"""Audit events of what changes a folder; opening for writing, fsync and the exchange of folders are added."""


def _made(experiment: Experiment, stage: Stage, _: float) -> Outcome:
    """In the place of recipes.run.stages.run_stage."""
    stage.folder.path.mkdir(parents=True, exist_ok=True)
    stage.prepare(stage.folder.path)
    if "recipes.run.evaluate_stage" in stage.command:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", stage.command[1:])
            evaluate_stage.main()
    elif "recipes.trl_plugin.main" in stage.command:
        _align(stage.folder, stage.total_steps, read_plan(stage.folder.path))
    else:
        # Its owner wrote where to begin; reading all of the YAML would be most of the time.
        begin = re.search(r"^  resume_from_path: (.*)$", (stage.folder.path / VERL_FILE).read_text(), re.MULTILINE)
        assert begin is not None
        _train(stage.folder, stage.total_steps, experiment, None if begin[1] == "null" else Path(begin[1]))
    return Outcome(0, "finished", "", 1.0, 1)


def _train(run: RunDir, steps: int, experiment: Experiment, resumed: Path | None) -> None:
    reinforced = experiment.stages != ("sft",)
    state, first = ((resumed / "state.pt").read_text(), checkpoint_step(resumed) or 0) if resumed else ("", 0)
    records = Records(run.path, steps)
    records.resume_at(first or (-1 if reinforced else 0))
    if not first and reinforced:
        records.log(0, {"val/acc": 0.1})
    for step in range(first + 1, steps + 1):
        records.phase("update", step - 1)
        state = hashlib.sha256(f"{state} {step}".encode()).hexdigest()
        _write(run.rollouts / f"{step}.jsonl", state)
        accuracy = {1: 0.4}.get(step, 0.6) if reinforced else None
        records.log(step, {"train/loss": 1 / step} | ({} if accuracy is None else {"val/acc": accuracy}))
        folder = run.checkpoints / f"global_step_{step}"
        weights = folder / "actor/huggingface" if reinforced else folder / "huggingface"
        for file in (folder / "state.pt", weights / "model.safetensors"):
            _write(file, state)
        run.checkpoint_written(folder, weights, step, accuracy, keep=1)
    records.phase("finished", steps)


def _align(run: RunDir, steps: int, plan: TrainingPlan) -> None:
    resumed = Path(plan.resume_from) if plan.resume_from else None
    state, first = ((resumed / "state.pt").read_text(), checkpoint_step(resumed) or 0) if resumed else ("", 0)
    for torn in run.checkpoints.glob("checkpoint-*"):
        shutil.rmtree(torn)
    records = Records(run.path, steps)
    records.resume_at(first)
    if not first:
        records.log(0, {"val/loss": 1.0}, again=True)
    for step in range(first + 1, steps + 1):
        state = hashlib.sha256(f"{state} {step}".encode()).hexdigest()
        records.log(step, {"train/loss": 1 / step})
        written = run.checkpoints / f"checkpoint-{step}"
        for name in ("state.pt", "model.safetensors"):
            _write(written / name, state)
        run.checkpoint_renamed(written, step, keep=1)
    # As recipes/trl_plugin/export.py.
    exported = run.hf / f".export.{os.getpid()}"
    shutil.rmtree(exported, ignore_errors=True)
    _write(exported / "last/model.safetensors", (complete_checkpoints(run.checkpoints)[-1][1] / "state.pt").read_text())
    publish(exported / "last", run.hf / "last")
    shutil.rmtree(exported)
    records.phase("finished", steps)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _evaluated(settings: Any, folder: Path, **_: Any) -> None:
    item = {"data_source": "countdown", "problem": 0, "sample": 0, "acc": 1, "format": 1, "pred": "1"}
    item |= {"truncated": 0, "response_length": 3, "partial": 0}
    _write(folder / evaluate_stage.ITEMS, json.dumps(item) + "\n")
    _write(folder / RESULTS, json.dumps({"mean_over_sources_unweighted": {"accuracy": 1.0}}))


@dataclass
class Calls:
    """Counts system calls that change a run's folder, and sends this process a signal before the n-th."""

    folder: Path
    kill_before: int | None
    by: int
    made: int = 0

    def count(self) -> None:
        self.made += 1
        if self.made == self.kill_before:
            os.kill(os.getpid(), self.by)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            writes = event in CHANGES
        if writes and not isinstance(arguments[0], int) and self._inside(os.fsdecode(arguments[0])):
            self.count()

    def _inside(self, path: str) -> bool:
        # rmtree names what it removes within its folder.
        return not os.path.isabs(path) or (path.startswith(f"{self.folder}/") and not path.endswith("run.lock"))


def counted(work: Callable[[], object], folder: Path, kill_before: int | None = None, by: int = signal.SIGKILL) -> int:
    """Do something in a fork. Returns how many system calls it made in `folder`; 0 where the signal `by` ended it."""
    calls = Calls(folder, kill_before, by)

    def start() -> int:
        exchange = switch.exchange

        def exchanged(one: Path, other: Path) -> bool:
            calls.count()
            return exchange(one, other)

        os.fsync = lambda _: calls.count()
        switch.exchange = exchanged
        sys.addaudithook(calls.audit)
        try:
            with stopping():
                work()
        except Stopped as stop:
            return -stop.number % 256
        print(f"calls {calls.made}")
        return 0

    done = forked(start)
    assert done.returncode in ((0,) if kill_before is None else (-by, -by % 256)), done.stderr
    return 0 if kill_before else int(done.stdout.rpartition("calls ")[2])


@contextmanager
def standing_in() -> Iterator[None]:
    """Within the block `launch` starts nothing: the stand-in makes every stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_stage, "evaluate", _evaluated)
        patch.setattr(launch, "run_stage", _made)
        patch.setattr(launch, "shared_imports", lambda _: nullcontext())
        patch.setattr(launch, "describe", lambda *_: "")
        patch.setattr(launch, "end_leftovers_held", lambda _: 0)
        patch.setattr(data_check, "check_training", lambda *_, **__: None)
        yield


def kept(out: Path) -> dict[str, Any]:
    """What a run has left, without times and what its processes were told."""
    found: dict[str, Any] = {}
    for path in out.rglob("*"):
        name = str(path.relative_to(out))
        if path.is_dir() or path.name in ("progress.json", SPENT, VERL_FILE, PLAN_FILE, EVALUATE_FILE):
            continue
        if path.name == "metrics.jsonl":
            found[name] = [(row["step"], row["data"]) for row in read_metrics(path)]
        elif path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text()))
        else:
            found[name] = path.read_bytes().replace(os.fsencode(out), b"OUT")
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(each) for k, each in value.items() if k not in ("time", "seconds", "peak_memory_bytes")}
    return value
