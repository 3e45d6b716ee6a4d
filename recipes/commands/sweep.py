"""--sweep: algorithms x data x seeds in one command, with a folder per run, one summary and one report.

out/<sweep>/  sweep.json  summary.md  summary.csv  report/  logs/<run>.txt  <algo>-<data>-s<seed>/ (a run's folder)
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes import ROOT
from recipes.commands.planned import Planned
from recipes.commands.train import plan_training, spread
from recipes.common.errors import ExperimentError
from recipes.common.listed import listed
from recipes.common.machine import gpu_count, visible_devices
from recipes.common.numbered import counted
from recipes.data import datafiles
from recipes.flags.effect import refuse_without_effect, with_effect
from recipes.flags.resolve import default_profile
from recipes.run.place import refuse_place, refuse_unwritable
from recipes.run.refuse import refuse_as_started, refuse_missing_devices
from recipes.run.resume import refuse_held
from recipes.settings.data_sets import data_title, several
from recipes.settings.experiment import Experiment

# Flags that a sweep sets for each run or uses itself; all others are passed to the runs.
OF_SWEEP = ("algo", "data", "seed", "seeds", "parallel", "out", "idx", "resume", "dry_run")


def sweep(flags: dict[str, Any]) -> int:
    """Make every unfinished run of --algo x --data x --seeds; returns the exit code.

    Raises:
        ExperimentError: before anything starts, for whatever a run would refuse, or too few devices.
        RunBusyError: if another process is running this sweep.
    """
    folder, plan = planned_sweep(flags)
    parallel = parallel_of(flags)
    # One seed each: refusals do not depend on seeds.
    for experiment in {(each.experiment.algo, each.experiment.data): each.experiment for each in plan}.values():
        refuse_as_started(experiment, keep=not flags["dry_run"])
    if flags["dry_run"]:
        print(listing(plan))
        return 0
    return start(plan, folder, parallel)


def planned_sweep(flags: Mapping[str, Any]) -> tuple[Path, list[Planned]]:
    """The sweep's folder and runs: all algorithms with the first seed before the second seed."""
    algos, tasks = listed(flags["algo"] or "uft", "algo"), several(flags["data"] or "countdown")
    profile = default_profile(gpu_count(), flags["profile"])
    shared = {name: value for name, value in flags.items() if name not in OF_SWEEP}
    given = {name: value for name, value in shared.items() if value is not None and value is not False}
    given["profile"] = profile.name
    if profile.device == "cuda" and parallel_of(flags) > 1:
        shared["profile"] = profile.name  # a run that sees only its share of the devices would choose another
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()[:8]
    model = Path(flags["model"] or profile.model_of(tasks[0])).name
    name = f"sweep-{'+'.join(map(data_title, tasks))}-{model}-{digest}"
    folder = sweep_folder(flags, name)
    chosen = [
        {"algo": algo, "data": task, "seed": seed, **shared}
        for seed in seeds_of(flags)
        for task in tasks
        for algo in algos
    ]
    runs = distinct(planned(folder, each) for each in spread(chosen, experiment_of))
    refuse_without_effect(shared, [run.experiment for run in runs])
    return folder, runs


def sweep_folder(flags: Mapping[str, Any], name: str) -> Path:
    """--out, or a folder of that name under out/; relative if below the working directory."""
    folder = Path(flags["out"] or ROOT / "out" / (name + (f"-{flags['idx']}" if flags["idx"] else "")))
    refuse_unwritable(folder)
    folder = folder.resolve()
    refuse_held(folder)
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def experiment_of(flags: Mapping[str, Any]) -> Experiment:
    """The experiment of one run's flags; writes nothing. Raises ExperimentError if it cannot work."""
    return plan_training({**dict.fromkeys(OF_SWEEP), **flags, "dry_run": "short"})[1]


def planned(folder: Path, flags: Mapping[str, Any], name: str | None = None) -> Planned:
    """The run of these flags, in a folder below `folder`; ExperimentError if it cannot work.

    It gets only flags with an effect on its algorithm; it would refuse the others, which are for other runs.
    """
    flags = with_effect(flags, experiment_of(flags))
    run_flags = {name: value for name, value in flags.items() if value is not None}
    experiment = experiment_of(flags)
    name = name or f"{experiment.algorithm.name}-{data_title(experiment.data)}-s{experiment.seed}"
    refuse_place(folder / name)
    return Planned(name, folder / name, experiment, run_flags)


def distinct(plan: Iterable[Planned]) -> list[Planned]:
    """The plan as a list; ExperimentError if runs would share a folder or a folder contains another run."""
    found: dict[str, Planned] = {}
    for each in plan:
        if each.name in found:
            for flag, fix in (("algo", "another name= in its ALGORITHM"), ("data", "another file name")):
                one, other = (getattr(of.experiment, flag) for of in (found[each.name], each))
                if one != other:
                    raise ExperimentError(
                        f"--{flag} {one},{other}: runs of both would use the folder {each.name}; give one {fix}"
                    )
            raise ExperimentError(f"--sweep: {each.name} is requested twice (--algo, --data, --seeds)")
        found[each.name] = each
    for each in found.values():
        _ = each.state  # raises if the folder holds another run
    return list(found.values())


def start(plan: Sequence[Planned], folder: Path, parallel: int) -> int:
    """Carry out a plan; returns the exit code."""
    from recipes.commands.sweep_runs import carry_out

    for each in plan:
        refuse_missing_devices(each.experiment)
    shares = device_shares([each.experiment for each in plan], visible_devices(), parallel)
    # Prepare data once here, so that runs starting together do not write the same files.
    for each in plan:
        if each.state != "finished":
            datafiles.prepared(each.experiment, ROOT)
    return carry_out(plan, folder, shares=shares, program=[sys.executable, str(ROOT / "run.py")])


def device_shares(experiments: Sequence[Experiment], devices: Sequence[str], parallel: int) -> list[list[str] | None]:
    """The devices of each of `parallel` slots; None if runs see all devices.

    Raises:
        ExperimentError: if there are too few devices or a run spans several nodes.
    """
    if parallel == 1:
        return [None]
    if any(each.nnodes > 1 for each in experiments):
        raise ExperimentError(f"--parallel {parallel}: runs on several nodes run one at a time")
    each = max((each.n_gpu for each in experiments if each.device == "cuda"), default=0)
    if each == 0:
        return [None] * parallel
    if parallel * each > len(devices):
        raise ExperimentError(
            f"--parallel {parallel}: {parallel} runs of {each} device(s) need {parallel * each}, but there are "
            f"{len(devices)} ({', '.join(devices) or 'none'}); give fewer with --n_gpu or --profile, or a smaller "
            f"--parallel"
        )
    return [list(devices[place * each : (place + 1) * each]) for place in range(parallel)]


def listing(plan: Sequence[Planned]) -> str:
    """One line per run with its state, and the commands of unfinished runs."""
    states = {each.name: each.state for each in plan}
    width = max(map(len, states))
    lines = [f"{counted(len(plan), 'run')}, {sum(each == 'finished' for each in states.values())} finished"]
    lines += [f"  {name:<{width}}  {state}" for name, state in states.items()]
    left = [each for each in plan if states[each.name] != "finished"]
    if left:
        lines.append("commands:")
        resumes = [each.arguments(resume=states[each.name] == "unfinished") for each in left]
        lines += [f"  python3 run.py {shlex.join(words)}" for words in resumes]
    return "\n".join(lines)


def seeds_of(flags: Mapping[str, Any]) -> list[int]:
    """--seeds, or --seed, or 0."""
    if flags["seeds"] is None:
        return [flags["seed"] or 0]
    if flags["seed"] is not None:
        raise ExperimentError("--seed and --seeds: give only --seeds for a sweep")
    return list(flags["seeds"])


def parallel_of(flags: Mapping[str, Any]) -> int:
    """--parallel; default 1."""
    count = flags["parallel"]
    if count is not None and count < 1:
        raise ExperimentError(f"--parallel {count}: must be at least 1")
    return count or 1
