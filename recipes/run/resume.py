"""Whether a folder may be used for a run: it is free, or contains the start of the same run on the same rows."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import yaml

from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, read_json, write_json
from recipes.common.values import as_text
from recipes.data.datafiles import DataFiles
from recipes.run.stages import VERL_FILE
from recipes.settings.data_sets import absolute
from recipes.settings.declare import ABSENT, Setting, declared
from recipes.settings.experiment import Experiment
from recipes.settings.saved import read_experiment
from recipes.trl_plugin.plan import PLAN_FILE

DATA_FILE = "data.json"
"""SHA-256 of the files that a run was started with."""

RESUMABLE = "add --resume to continue it, or give another --out"


def as_begun(saved: Experiment, experiment: Experiment) -> Experiment:
    """The experiment with `saved`'s values for settings that its version did not have, unless a flag sets them, and for
    settings without effect.

    Their defaults may have changed since; a run continues as it was started.
    """
    kept = {name: each.absent for name, each in _later(experiment).items() if getattr(saved, name) == each.absent}
    if saved.algo == experiment.algo:
        # A setting without effect may be derived from one that has: T_hint from a larger T.
        idle = (
            n for n, each in declared(Experiment).items() if not each.applies(experiment.algorithm, experiment.stages)
        )
        kept |= {name: getattr(saved, name) for name in idle}
    return replace(experiment, **kept)


def older_folder(run: RunDir, experiment: Experiment) -> RunDir:
    """The folder of the run to resume: its default name, or the one that an older version used for these flags."""
    if run.experiment.exists() or run.path.name != experiment.default_name:
        return run
    then = replace(experiment, **{name: each.absent for name, each in _later(experiment).items()})
    older = RunDir(run.path.with_name(then.default_name))
    return older if older.experiment.exists() else run


def _later(experiment: Experiment) -> dict[str, Setting]:
    """The settings at their default that were added to experiment.yaml later."""
    known = declared(Experiment).items()
    return {name: of for name, of in known if of.absent is not ABSENT and getattr(experiment, name) == of.default}


def check_folder(run: RunDir, experiment: Experiment, resume: bool) -> None:
    """Raise ExperimentError unless the folder is free, or contains the start of this experiment and `resume` is set."""
    if not run.experiment.exists():
        refuse_unknown_run(run)
        return
    if not resume:
        refuse_held(run.path, RESUMABLE)
    refuse_other_run(run, read_experiment(run.experiment), experiment)


def refuse_held(folder: Path, instead: str = "give another --out") -> None:
    """Raise ExperimentError for a folder that holds a run."""
    if RunDir(folder).experiment.exists():
        raise ExperimentError(f"{folder} already holds a run; {instead}")


def refuse_unknown_run(run: RunDir) -> None:
    """Raise ExperimentError for a folder with records of an unknown run, or inside another run's folder."""
    found = [path for path in (run.checkpoints, run.hf, run.metrics) if path.exists()]
    if run.experiment.exists():
        return
    above = [RunDir(parent) for parent in run.path.absolute().parents]
    if inside := next((each.path for each in above if each.experiment.exists() and each.metrics.exists()), None):
        raise ExperimentError(f"{run.path} is inside {inside}, which holds a run; use another folder for --out")
    if found:
        raise ExperimentError(
            f"{run.path} holds {' and '.join(path.name for path in found)} but no {run.experiment.name}, without which "
            f"their run is unknown; restore it, or use another folder for --out"
        )


def nothing_begun(folder: Path) -> str:
    """The notice of --resume without a run: a name or setting may differ from that of the first start."""
    return f"--resume: no run in {folder} yet; starting from the beginning"


def record_data(run: RunDir, files: DataFiles) -> None:
    """Record the hashes of a run's files, for `refuse_other_data`."""
    if not (run.path / DATA_FILE).exists():
        write_json(run.path / DATA_FILE, _hashes(files))


def _hashes(files: DataFiles) -> dict[str, str]:
    found = {}
    for name, path in (("train", files.train), ("test", files.test)):
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def drop_damaged_copies(run: RunDir) -> None:
    """Remove unreadable files among a run's own copies of its rows; they are recreated from the same rows."""
    for path in (run.path / "data").rglob("*.parquet"):
        try:
            parquet.ParquetFile(path).close()
        except (pa.ArrowException, OSError):
            path.unlink()


def refuse_other_data(run: RunDir, experiment: Experiment, files: DataFiles) -> None:
    """Raise ExperimentError if a run to resume was started with other rows than `files`.

    For runs from before there was a record, folders are compared: that of a user's prepared file is named after the
    file's content and split.
    """
    if (run.path / DATA_FILE).exists():
        before = read_json(run.path / DATA_FILE)
        if not before:
            raise ExperimentError(
                f"--resume: {run.path / DATA_FILE} cannot be read, so the run's rows are unknown; restore it, or "
                f"delete it if --data {experiment.data} is unchanged"
            )
        changed = [str(getattr(files, name)) for name, hashed in _hashes(files).items() if before.get(name) != hashed]
        if changed:
            raise ExperimentError(
                f"--resume: {run.path} was started with other rows than --data {experiment.data} has now: "
                f"{' and '.join(changed)} changed since, or the rows are split differently; restore them, or start a "
                f"new run in another --out"
            )
        return
    for file in (run.path / VERL_FILE, run.path / "sft" / VERL_FILE, run.path / PLAN_FILE):
        if not file.exists():
            continue
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        named = Path(str(values.get("data", {}).get("train_files") or values.get("train_file") or files.train))
        # A copy in another prompt style is in the run's own folder.
        if named.parent.name not in (files.train.parent.name, "data"):
            raise ExperimentError(
                f"--resume: {run.path} was started with {named}, but --data {experiment.data} is now {files.train}: "
                f"the file changed since, or is split differently; restore it, or start a new run in another --out"
            )


def refuse_other_run(run: RunDir, saved: Experiment, experiment: Experiment) -> None:
    """Raise ExperimentError if `experiment` does not continue the one `saved` in its folder."""
    experiment = as_begun(saved, experiment)
    for name, setting in declared(Experiment).items():
        before, now = getattr(saved, name), getattr(experiment, name)
        if name in ("data", "model") and Path(before).exists() and Path(before).resolve() == Path(now).resolve():
            continue  # --config gives the full path of what was relative when the run was started
        if name in ("data", "val_data") and before and now and absolute(before) == absolute(now):
            continue
        if before != now and not setting.may_change:
            fix = f"add --{name} {as_text(before)}" if setting.flag and before is not None else "restore that value"
            raise ExperimentError(
                f"--resume: {run.path} was started with {name} {before}, now it is {now}; {fix}, or use another --out"
            )
    if experiment.T < saved.T:
        raise ExperimentError(f"--resume: {run.path} was started with T {saved.T}; it can be extended, not shortened")


def folder_of(out: Path, experiment: Experiment, resume: bool) -> RunDir:
    run = RunDir(out.resolve())
    run = older_folder(run, experiment) if resume else run
    if resume and not run.experiment.exists():
        print(nothing_begun(run.path), flush=True)
    return run


def begun(run: RunDir, experiment: Experiment) -> Experiment:
    """The experiment as the run in the folder was started, if there is one."""
    if not run.experiment.exists():
        return experiment
    then = as_begun(read_experiment(run.experiment), experiment)
    if then.dual_clip != experiment.dual_clip:
        print(f"--dual_clip {then.dual_clip:g}: as in the older version that started the run", flush=True)
    return then
