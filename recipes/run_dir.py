"""The folder of a run: where everything lies, and writes that a kill at any moment cannot tear.

out/<name>/  experiment.yaml  metrics.jsonl  progress.json  log.txt  summary.json
             checkpoints/global_step_N/  hf/last/  hf/best/  validation/N.jsonl
             rollouts/N.jsonl  tensorboard/
"""

import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEP_PREFIX = "global_step_"
COMPLETE = "complete.json"


@dataclass(frozen=True)
class RunDir:
    """Paths of one run (or of one stage of it)."""

    path: Path

    @property
    def experiment(self) -> Path:
        return self.path / "experiment.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def progress(self) -> Path:
        return self.path / "progress.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def hf(self) -> Path:
        return self.path / "hf"

    @property
    def validation(self) -> Path:
        return self.path / "validation"

    @property
    def rollouts(self) -> Path:
        return self.path / "rollouts"

    def publish_weights(self, weights: Path, step: int, accuracy: float | None) -> None:
        """Make a Hugging Face folder hf/last, and hf/best if no saved step before it validated better.

        An adapter that lies beside the folder becomes hf/adapter. What a kill interrupted `republish` does again: the
        step in hf/last.json is written last.
        """
        publish(weights, self.hf / "last")
        adapter = weights.parent / "adapter"
        if adapter.is_dir():
            publish(adapter, self.hf / "adapter")
        best = self.hf / "best.json"
        so_far = json.loads(best.read_text())["val/acc"] if best.exists() else None
        if accuracy is not None and (so_far is None or accuracy > so_far):
            publish(weights, self.hf / "best")
            write_json(best, {"step": step, "val/acc": accuracy})
        write_json(self.hf / "last.json", {"step": step})

    def republish(self) -> None:
        """Publish the newest whole checkpoint of a verl stage if a kill kept it from being published."""
        whole = complete_checkpoints(self.checkpoints)
        if not whole:
            return
        step, checkpoint = whole[-1]
        weights = next((f for f in (checkpoint / "actor/huggingface", checkpoint / "huggingface") if f.is_dir()), None)
        last = self.hf / "last.json"
        if weights is None or (last.exists() and json.loads(last.read_text())["step"] == step):
            return
        found = [row["data"]["val/acc"] for row in read_metrics(self.metrics) if _validated(row, step)]
        # A supervised stage knows no accuracy when it saves, and so has no best step.
        accuracy = found[-1] if found and weights.parent.name == "actor" else None
        self.publish_weights(weights, step, accuracy)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content in one step: readers see the old text or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _validated(row: dict[str, Any], step: int) -> bool:
    return row["step"] == step and "val/acc" in row["data"]


def _number(value: Any) -> float | int | None:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        return None
    return item if math.isfinite(item) else None


def append_metrics(path: Path, step: int, data: dict[str, Any]) -> None:
    """Add one line {"step", "time", "data"} to metrics.jsonl; values that are not finite numbers are left out."""
    numbers = {name: number for name, value in data.items() if (number := _number(value)) is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"step": int(step), "time": time.time(), "data": numbers}) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole lines of metrics.jsonl; a line torn by a kill, or damaged, is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and isinstance(row.get("data"), dict):
            rows.append({"time": 0.0, **row})
    return rows


def trim_metrics(path: Path, last_step: int) -> None:
    """Drop the lines of steps after `last_step`: a resumed run writes them again."""
    if not path.exists():
        return
    kept = [row for row in read_metrics(path) if row["step"] <= last_step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def checkpoint_step(folder: Path) -> int | None:
    """The step in a checkpoint folder's name, or None for another folder."""
    tail = folder.name.removeprefix(STEP_PREFIX)
    return int(tail) if tail != folder.name and tail.isdigit() else None


def complete_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Whole checkpoints in a folder, oldest first. One that was being written when the run died is not whole."""
    if not folder.is_dir():
        return []
    found = [(step, path) for path in folder.iterdir() if (step := checkpoint_step(path)) is not None]
    return sorted((step, path) for step, path in found if (path / COMPLETE).exists())


def mark_complete(checkpoint: Path, step: int) -> None:
    """Say that a checkpoint is whole, after everything in it has been written."""
    write_json(checkpoint / COMPLETE, {"step": step, "time": time.time()})


def keep_newest(folder: Path, count: int) -> None:
    """Delete all but the newest `count` whole checkpoints, and every broken one older than the newest whole one."""
    whole = complete_checkpoints(folder)
    if not whole:
        return
    kept = {path for _, path in whole[-count:]}
    for path in folder.iterdir():
        step = checkpoint_step(path)
        if step is not None and step < whole[-1][0] and path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def publish(source: Path, target: Path) -> None:
    """Make `target` a copy of the folder `source` by hard links (files where links are refused), in one step.

    The files are as readable as the folder they come into: safetensors writes weights for their owner's eyes only.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    # What a killed process left of an earlier attempt; only the run's owner publishes.
    for litter in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(litter, ignore_errors=True)
    readable = target.parent.stat().st_mode & 0o666

    def link(src: str, dst: str) -> None:
        try:
            os.link(src, dst)
        except OSError:
            shutil.copy2(src, dst)
        os.chmod(dst, readable)

    shutil.copytree(source, temporary, copy_function=link)
    if target.exists():
        os.replace(target, old)
    os.replace(temporary, target)
    shutil.rmtree(old, ignore_errors=True)
