"""Where results may go: a folder that can be created and written, outside this repository's own folders."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recipes import ROOT
from recipes.common.errors import ExperimentError
from recipes.estimate.machine_needs import checkpoint_bytes, disk_bytes, size_text
from recipes.settings.experiment import Experiment
from recipes.watch.signals import undisturbed

OF_THE_REPOSITORY = (
    *(".ci", ".git", ".github", ".venv", "bench", "data", "data_prep", "docs", "eval", "examples", "models", "recipes"),
    *("requirements", "results", "reward_fns", "tests"),
)
"""Top-level folders of the repository that results must not go into."""


def refuse_place(folder: Path) -> None:
    """Raise ExperimentError for a folder that results may not go into."""
    place = Path(os.path.abspath(folder))
    real = Path(os.path.realpath(folder))
    try:
        place.resolve()
    except (OSError, RuntimeError):
        raise ExperimentError(f"--out {folder}: a loop of symbolic links; choose another folder") from None
    if real == ROOT or (real.is_relative_to(ROOT) and real.relative_to(ROOT).parts[0] in OF_THE_REPOSITORY):
        raise ExperimentError(f"--out {folder}: part of this repository; choose a folder under out/, or elsewhere")
    if real == Path(real.anchor):
        raise ExperimentError(f"--out {folder}: the root folder; choose a separate folder for results")
    if any(len(os.fsencode(part)) > 255 for part in place.parts):
        raise ExperimentError(f"--out {folder}: File name too long; choose another folder")
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir():
        raise ExperimentError(f"--out {folder}: {there} is a file; choose another folder")


def refuse_unwritable(folder: Path) -> None:
    """`refuse_place`, and ExperimentError for a folder that cannot be created or written, as tried in a scratch one."""
    refuse_place(folder)
    place = Path(os.path.abspath(folder))
    there = next(each for each in (place, *place.parents) if os.path.lexists(each))
    with undisturbed():
        try:
            with tempfile.TemporaryDirectory(dir=there) as trial:
                Path(trial, place.relative_to(there)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from None


def refuse_small_disk_of_all(experiments: Sequence[Experiment], folder: Path) -> None:
    """Raise ExperimentError where the checkpoints of several runs will not fit beside what is in their folder."""
    needed, (free, there) = sum(map(disk_bytes, experiments)), _room(folder)
    if needed > free + there:
        raise ExperimentError(
            f"--out {folder}: {size_text(free)} are free there, and the checkpoints of all {len(experiments)} stages "
            f"take up to {size_text(needed)}. Free some, name another disk, or keep fewer (--keep_checkpoints)"
        )


def _room(folder: Path) -> tuple[int, int]:
    """Bytes that are free on a folder's disk, and that it has already."""
    disk = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return shutil.disk_usage(disk).free, there


def refuse_small_disk(experiment: Experiment, folder: Path) -> None:
    """Raise ExperimentError if the checkpoints of a run will not fit on the disk."""
    needed, (free, there) = disk_bytes(experiment), _room(folder)
    if needed > free + there:
        each, kept = size_text(checkpoint_bytes(experiment)), experiment.keep_checkpoints
        raise ExperimentError(
            f"--out {folder}: {size_text(free)} are free there, and this run's checkpoints take up to "
            f"{size_text(needed)} ({each} each, --keep_checkpoints {kept} and one being written). Free some space or "
            f"use another disk{_less(experiment, free + there)}"
        )


def _less(experiment: Experiment, room: float) -> str:
    """The flags that would each suffice on their own."""
    e = experiment
    fewer = [(f"--keep_checkpoints {n}", replace(e, keep_checkpoints=n)) for n in range(e.keep_checkpoints - 1, 0, -1)]
    half = [("--hf_dtype bfloat16", replace(e, hf_dtype="bfloat16"))] if e.stages != ("alignment",) else []
    found = [
        next(((flag, disk_bytes(each)) for flag, each in some if disk_bytes(each) <= room), None)
        for some in (fewer, half)
    ]
    return "".join(f"; with {each[0]} they take {size_text(each[1])}" for each in found if each)


def cannot_write(folder: Path, error: OSError) -> ExperimentError:
    return ExperimentError(f"--out {folder}: {error.strerror}; choose another folder")
