"""--sweep: algorithms x data x seeds by one command, each run in a folder of its own, one summary and one report.

out/<sweep>/  sweep.json  summary.md  summary.csv  report/  logs/<run>.txt  <algo>-<data>-s<seed>/ (a run's own folder)
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes import ROOT
from recipes.commands.front import plan_training, spread
from recipes.commands.planned import Planned
from recipes.common.errors import ExperimentError
from recipes.common.listed import listed
from recipes.common.machine import gpu_count, visible_devices
from recipes.common.run_dir import RunDir
from recipes.data import datafiles
from recipes.flags.effect import refuse_without_effect, with_effect
from recipes.flags.resolve import default_profile
from recipes.run.launch import refuse_as_started, refuse_missing_devices
from recipes.run.place import refuse_place, refuse_unwritable
from recipes.settings.data_sets import data_title, several
from recipes.settings.experiment import Experiment

# Flags that a sweep sets for each of its runs, or that are its own; its runs are given all others as they are.
OF_SWEEP = ("algo", "data", "seed", "seeds", "parallel", "out", "idx", "resume", "dry_run")


def sweep(flags: dict[str, Any]) -> int:
    """Make every run of --algo x --data x --seeds that is not finished; returns the exit code.

    Raises:
        ExperimentError: before anything starts, for whatever one of the runs would refuse, or too few devices.
        RunBusyError: when another process is at work on this sweep.
    """
    folder, plan = planned_sweep(flags)
    parallel = parallel_of(flags)
    # Of seeds one: what is refused does not depend on them.
    for experiment in {(each.experiment.algo, each.experiment.data): each.experiment for each in plan}.values():
        refuse_as_started(experiment, keep=not flags["dry_run"])
    if flags["dry_run"]:
        print(listing(plan))
        return 0
    return start(plan, folder, parallel)


def planned_sweep(flags: Mapping[str, Any]) -> tuple[Path, list[Planned]]:
    """Its folder and its runs: all algorithms of the first seed before the second seed."""
    algos, tasks = listed(flags["algo"] or "uft", "algo"), several(flags["data"] or "countdown")
    profile = default_profile(gpu_count(), flags["profile"])
    shared = {name: value for name, value in flags.items() if name not in OF_SWEEP}
    given = {name: value for name, value in shared.items() if value is not None and value is not False}
    given["profile"] = profile.name
    if profile.device == "cuda" and parallel_of(flags) > 1:
        shared["profile"] = profile.name  # a run that sees only its share of the devices would choose another one
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
    """--out, or a folder of that name under out/; from where we are, if it is below."""
    folder = Path(flags["out"] or ROOT / "out" / (name + (f"-{flags['idx']}" if flags["idx"] else "")))
    refuse_unwritable(folder)
    folder = folder.resolve()
    if RunDir(folder).experiment.exists():
        raise ExperimentError(f"{folder} already holds a run of its own; give --out another folder")
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def experiment_of(flags: Mapping[str, Any]) -> Experiment:
    """What these flags of one run mean; writes nothing. ExperimentError for what cannot work."""
    return plan_training({**dict.fromkeys(OF_SWEEP), **flags, "dry_run": "short"})[1]


def planned(folder: Path, flags: Mapping[str, Any], name: str | None = None) -> Planned:
    """The run that these flags mean, in a folder below `folder`; ExperimentError for one that cannot work.

    It is given those that have an effect on its algorithm: others are there for other runs, and by itself it would
    refuse them.
    """
    flags = with_effect(flags, experiment_of(flags))
    run_flags = {name: value for name, value in flags.items() if value is not None}
    experiment = experiment_of(flags)
    name = name or f"{experiment.algorithm.name}-{data_title(experiment.data)}-s{experiment.seed}"
    refuse_place(folder / name)
    return Planned(name, folder / name, experiment, run_flags)


def distinct(plan: Iterable[Planned]) -> list[Planned]:
    """The plan as a list; ExperimentError when two of its runs would share a folder, or one belongs to another run."""
    found: dict[str, Planned] = {}
    for each in plan:
        if each.name in found:
            for flag, fix in (("algo", "another name= in its ALGORITHM"), ("data", "a file of another name")):
                one, other = (getattr(of.experiment, flag) for of in (found[each.name], each))
                if one != other:
                    raise ExperimentError(
                        f"--{flag} {one},{other}: runs of both would lie in a folder {each.name}; give one {fix}"
                    )
            raise ExperimentError(f"--sweep: {each.name} is asked for twice (--algo, --data, --seeds)")
        found[each.name] = each
    for each in found.values():
        _ = each.state  # raises for another run's folder
    return list(found.values())


def start(plan: Sequence[Planned], folder: Path, parallel: int) -> int:
    """Carry out a plan; returns the exit code."""
    from recipes.commands.sweep_runs import carry_out

    for each in plan:
        refuse_missing_devices(each.experiment)
    shares = device_shares([each.experiment for each in plan], visible_devices(), parallel)
    # Here, once: runs that start together must not make the same files at the same time.
    for each in plan:
        if each.state != "finished":
            datafiles.prepared(each.experiment, ROOT)
    return carry_out(plan, folder, shares=shares, program=[sys.executable, str(ROOT / "run.py")])


def device_shares(experiments: Sequence[Experiment], devices: Sequence[str], parallel: int) -> list[list[str] | None]:
    """The devices of each of `parallel` places to run at; None where a run is given all there are.

    Raises:
        ExperimentError: when there are too few devices, or a run spans several nodes.
    """
    if parallel == 1:
        return [None]
    if any(each.nnodes > 1 for each in experiments):
        raise ExperimentError(f"--parallel {parallel}: runs on several nodes go one at a time")
    each = max((each.n_gpu for each in experiments if each.device == "cuda"), default=0)
    if each == 0:
        return [None] * parallel
    if parallel * each > len(devices):
        raise ExperimentError(
            f"--parallel {parallel}: {parallel} runs of {each} device(s) need {parallel * each}, and there are "
            f"{len(devices)} ({', '.join(devices) or 'none'}); give fewer with --n_gpu or --profile, or a smaller "
            f"--parallel"
        )
    return [list(devices[place * each : (place + 1) * each]) for place in range(parallel)]


def listing(plan: Sequence[Planned]) -> str:
    """A line a run with how far it is, and the commands of those that are left."""
    states = {each.name: each.state for each in plan}
    width = max(map(len, states))
    lines = [f"{len(plan)} runs, {sum(each == 'finished' for each in states.values())} of them finished"]
    lines += [f"  {name:<{width}}  {state}" for name, state in states.items()]
    left = [each for each in plan if states[each.name] != "finished"]
    if left:
        lines.append("commands:")
        resumes = [each.arguments(resume=states[each.name] == "unfinished") for each in left]
        lines += [f"  python3 run.py {shlex.join(words)}" for words in resumes]
    return "\n".join(lines)


def seeds_of(flags: Mapping[str, Any]) -> list[int]:
    """--seeds, or the one of --seed, or 0."""
    if flags["seeds"] is None:
        return [flags["seed"] or 0]
    if flags["seed"] is not None:
        raise ExperimentError("--seed and --seeds: give a sweep --seeds alone")
    return list(flags["seeds"])


def parallel_of(flags: Mapping[str, Any]) -> int:
    """--parallel, one if it is not given."""
    count = flags["parallel"]
    if count is not None and count < 1:
        raise ExperimentError(f"--parallel {count}: must be at least 1")
    return count or 1
