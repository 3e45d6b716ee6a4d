"""The folder of a run: its paths, and writes that stay intact if the process is killed.

out/<name>/  experiment.yaml  metrics.jsonl  progress.json  log.txt  summary.json
             checkpoints/global_step_N/  hf/last/  hf/best/  validation/N.jsonl
             rollouts/N.jsonl  tensorboard/
"""

import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.common.switch import switch

STEP_PREFIX = "global_step_"
COMPLETE = "complete.json"
_LITTER = re.compile(r"\..+\.\d+\.(tmp|old)|\.export\.\d+")
"""Temporary names of files being written or replaced; they contain the process id."""


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
        """Publish weights as hf/last, and as hf/best if no earlier saved step validated better.

        An adapter next to the weights becomes hf/adapter. hf/last.json is written last, so that `republish` can redo
        an interrupted publication.
        """
        publish(weights, self.hf / "last")
        adapter = weights.parent / "adapter"
        if adapter.is_dir():
            publish(adapter, self.hf / "adapter")
        best = self.hf / "best.json"
        so_far = read_json(best).get("val/acc")
        if accuracy is not None and (so_far is None or accuracy > so_far):
            publish(weights, self.hf / "best")
            write_json(best, {"step": step, "val/acc": accuracy})
        write_json(self.hf / "last.json", {"step": step})

    def checkpoint_written(self, checkpoint: Path, weights: Path, step: int, accuracy: float | None, keep: int) -> None:
        """Mark a checkpoint as complete, publish its Hugging Face folder `weights`, and keep the newest `keep`."""
        mark_complete(checkpoint, step)
        self.publish_weights(weights, step, accuracy)
        keep_newest(self.checkpoints, keep)

    def checkpoint_renamed(self, written: Path, step: int, keep: int) -> None:
        """Rename a checkpoint written under another name, mark it as complete, and keep the newest `keep`."""
        target = self.checkpoints / f"{STEP_PREFIX}{step}"
        shutil.rmtree(target, ignore_errors=True)
        os.replace(written, target)
        mark_complete(target, step)
        keep_newest(self.checkpoints, keep)

    def tidy(self) -> list[str]:
        """Remove leftovers of a killed process; returns messages about damaged checkpoints. For the run's owner only.

        A damaged checkpoint is unmarked, so that it does not count as complete while its step is repeated. Published
        weights share its files: hf/best is chosen again, and `republish` replaces hf/last.
        """
        for path in [path for path in self.path.rglob(".*") if _LITTER.fullmatch(path.name)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        said = []
        for step, path in _checkpoints(self.checkpoints):
            if fault := fault_of(path):
                said.append(f"the checkpoint of step {step} is damaged ({fault})")
                (path / COMPLETE).unlink()
                said += self._forget_best(step)
            elif not (path / COMPLETE).exists():
                shutil.rmtree(path)
        return said

    def _forget_best(self, step: int) -> list[str]:
        if read_json(self.hf / "best.json").get("step") != step:
            return []
        (self.hf / "best.json").unlink()
        shutil.rmtree(self.hf / "best", ignore_errors=True)
        return ["hf/best, which came from it, is chosen again"]

    def republish(self) -> None:
        """Publish the newest complete checkpoint of a verl stage if the process was killed before it could."""
        whole = complete_checkpoints(self.checkpoints)
        if not whole:
            return
        step, checkpoint = whole[-1]
        weights = next((f for f in (checkpoint / "actor/huggingface", checkpoint / "huggingface") if f.is_dir()), None)
        last = self.hf / "last.json"
        if weights is None or read_json(last).get("step") == step:
            return
        found = [row["data"]["val/acc"] for row in read_metrics(self.metrics) if _validated(row, step)]
        # Supervised stages have no accuracy when they save, and so no best step.
        accuracy = found[-1] if found and weights.parent.name == "actor" else None
        self.publish_weights(weights, step, accuracy)


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically: readers see the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a file written by `write_json`; empty if it is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _validated(row: dict[str, Any], step: int) -> bool:
    return row["step"] == step and "val/acc" in row["data"]


def _number(value: Any) -> float | int | None:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        return None
    # An integer may be beyond every float; no infinity is.
    return item if abs(item) <= sys.float_info.max else None


def _numbers(data: dict[str, Any]) -> dict[str, float | int]:
    return {name: number for name, value in data.items() if (number := _number(value)) is not None}


def append_metrics(path: Path, step: int, data: dict[str, Any]) -> None:
    """Add one line {"step", "time", "data"} to metrics.jsonl; values that are not finite numbers are skipped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"step": int(step), "time": time.time(), "data": _numbers(data)}) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def replace_metrics(path: Path, step: int, data: dict[str, Any]) -> None:
    """`append_metrics`, replacing a line with the same step and names: a resumed run measures it again."""
    kept = [row for row in read_metrics(path) if row["step"] != step or row["data"].keys() != _numbers(data).keys()]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    append_metrics(path, step, data)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All complete lines of metrics.jsonl; truncated or damaged ones are skipped."""
    return [row for row in _rows(path) if row is not None]


def damaged_lines(path: Path) -> list[int]:
    """Line numbers in metrics.jsonl, from 1, that `read_metrics` skips."""
    return [number for number, row in enumerate(_rows(path), 1) if row is None]


def _rows(path: Path) -> list[dict[str, Any] | None]:
    if not path.exists():
        return []
    return [_row(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(row, dict) and isinstance(row.get("step"), int) and isinstance(row.get("data"), dict)):
        return None
    time_ = row.setdefault("time", 0.0)
    return row if all(_number(value) is not None for value in (time_, *row["data"].values())) else None


def trim_metrics(path: Path, last_step: int) -> None:
    """Drop the lines of steps after `last_step`, which a resumed run writes again."""
    if not path.exists():
        return
    kept = [row for row in read_metrics(path) if row["step"] <= last_step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def checkpoint_step(folder: Path) -> int | None:
    """The step in a checkpoint folder's name; None for other folders."""
    tail = folder.name.removeprefix(STEP_PREFIX)
    return int(tail) if tail != folder.name and tail.isdigit() else None


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    return sorted((step, path) for path in folder.iterdir() if (step := checkpoint_step(path)) is not None)


def complete_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Complete checkpoints in a folder, oldest first. Those that were being written when the run died, or whose files
    have changed in size, do not count."""
    return [(n, path) for n, path in _checkpoints(folder) if (path / COMPLETE).exists() and not fault_of(path)]


def fault_of(checkpoint: Path) -> str:
    """What is wrong with a checkpoint marked as complete; empty if nothing is."""
    if not (checkpoint / COMPLETE).exists():
        return ""
    found = read_json(checkpoint / COMPLETE)
    if "step" not in found:
        return f"{COMPLETE} cannot be read"
    sizes = found.get("sizes", {})  # older versions recorded no files
    if not isinstance(sizes, dict):
        return f"{COMPLETE} cannot be read"
    for name, size in sizes.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if (now := file.stat().st_size) != size:
            return f"{name} has {now} of {size} bytes"
    return ""


def mark_complete(checkpoint: Path, step: int) -> None:
    """Mark a checkpoint as complete once all of it is on disk, so that it survives a power cut."""
    sizes = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != COMPLETE:
            sizes[str(path.relative_to(checkpoint))] = path.stat().st_size
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    write_json(checkpoint / COMPLETE, {"step": step, "time": time.time(), "sizes": sizes})


def keep_newest(folder: Path, count: int) -> None:
    """Delete all but the newest `count` complete checkpoints, and broken ones older than the newest complete one."""
    whole = complete_checkpoints(folder)
    if not whole:
        return
    kept = {path for _, path in whole[-count:]}
    for path in folder.iterdir():
        step = checkpoint_step(path)
        if step is not None and step < whole[-1][0] and path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def publish(source: Path, target: Path) -> None:
    """Atomically make `target` a copy of the folder `source`, by hard links where possible.

    Files get the read permissions of the folder they go into: safetensors makes weights readable to their owner only.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    readable = target.parent.stat().st_mode & 0o666

    def link(src: str, dst: str) -> None:
        try:
            os.link(src, dst)
        except OSError:
            shutil.copy2(src, dst)
        os.chmod(dst, readable)

    shutil.copytree(source, temporary, copy_function=link)
    switch(temporary, target)
    shutil.rmtree(temporary, ignore_errors=True)
