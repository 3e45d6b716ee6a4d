"""Where results may go: a folder that can be made and written, and is no part of this repository."""

import os
import shutil
import tempfile
from pathlib import Path

from recipes import ROOT
from recipes.common.errors import ExperimentError
from recipes.estimate.machine_needs import checkpoint_bytes, disk_bytes
from recipes.estimate.memory import GB
from recipes.settings.experiment import Experiment
from recipes.watch.signals import undisturbed

OF_THE_REPOSITORY = (
    *(".ci", ".git", ".github", ".venv", "bench", "data", "data_prep", "docs", "eval", "examples", "models", "recipes"),
    *("requirements", "results", "reward_fns", "tests"),
)
"""Folders of its root that hold what results must not be mixed with."""


def refuse_place(folder: Path) -> None:
    """Raise ExperimentError for a folder that nothing may be written into."""
    place = Path(os.path.abspath(folder))
    real = Path(os.path.realpath(folder))
    try:
        place.resolve()
    except (OSError, RuntimeError):
        raise ExperimentError(f"--out {folder}: links that lead in a circle; choose another folder") from None
    if real == ROOT or (real.is_relative_to(ROOT) and real.relative_to(ROOT).parts[0] in OF_THE_REPOSITORY):
        raise ExperimentError(f"--out {folder}: a part of this repository; choose a folder under out/, or elsewhere")
    if real == Path(real.anchor):
        raise ExperimentError(f"--out {folder}: the root of all folders; choose one of its own for results")
    if any(len(os.fsencode(part)) > 255 for part in place.parts):
        raise ExperimentError(f"--out {folder}: File name too long; choose another folder")
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir():
        raise ExperimentError(f"--out {folder}: {there} is a file; choose another folder")


def refuse_unwritable(folder: Path) -> None:
    """`refuse_place`, and for a folder that cannot be made or written: it is tried in one that no other run knows."""
    refuse_place(folder)
    place = Path(os.path.abspath(folder))
    there = next(each for each in (place, *place.parents) if os.path.lexists(each))
    with undisturbed():
        try:
            with tempfile.TemporaryDirectory(dir=there) as trial:
                Path(trial, place.relative_to(there)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from None


def refuse_small_disk(experiment: Experiment, folder: Path) -> None:
    """Raise ExperimentError where the checkpoints of a run will not fit beside what is there already."""
    disk = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    whole, free = disk_bytes(experiment), shutil.disk_usage(disk).free
    if whole <= free:
        return
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if whole > free + there:
        kept = experiment.keep_checkpoints
        half = experiment.hf_dtype == "float32" and experiment.stages != ("alignment",)
        raise ExperimentError(
            f"--out {folder}: {_size(free)} are free there, and this run's checkpoints take up to {_size(whole)} "
            f"({_size(checkpoint_bytes(experiment))} each, --keep_checkpoints {kept} and one being written): free "
            f"some, name another disk, or keep fewer{', or publish half as large: --hf_dtype bfloat16' * half}"
        )


def _size(count: float) -> str:
    return f"{count / GB:.0f} GB" if count >= GB else f"{count / 1e6:.0f} MB"


def cannot_write(folder: Path, error: OSError) -> ExperimentError:
    return ExperimentError(f"--out {folder}: {error.strerror}; choose another folder")
