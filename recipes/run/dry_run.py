"""--dry_run: what a start would do, and what it would refuse."""

from dataclasses import asdict
from pathlib import Path

import yaml

from recipes import ROOT
from recipes.common.errors import ExperimentError
from recipes.data import datafiles
from recipes.run.build_stages import refuse_idle_patience, stages, training_plan
from recipes.run.closing import short
from recipes.run.place import refuse_small_disk
from recipes.run.plan import describe
from recipes.run.refuse import lacking_devices, refuse_data, refuse_settings
from recipes.run.resume import begun, check_folder, folder_of, refuse_other_data
from recipes.run.stages import VERL_FILE, absolute
from recipes.settings.experiment import Experiment
from recipes.trl_plugin.plan import PLAN_FILE
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.verl_config import rl_config, sft_config


def dry_run(experiment: Experiment, out: Path, *, resume: bool = False, full: bool = False) -> str:
    """What `launch` would do: the plan; `full` adds environment, commands and verl's configuration. Starts nothing and
    leaves no files behind.

    Raises:
        ExperimentError: for whatever the start would refuse.
    """
    run = folder_of(out, experiment, resume)
    if resume:
        check_folder(run, experiment, resume)
        experiment = begun(run, experiment)
    refuse_settings(experiment)
    with datafiles.made(experiment, ROOT, keep=False) as files:
        if resume and files.generate is None:
            refuse_other_data(run, experiment, files)
        refuse_data(experiment, files)
        place = datafiles.locate(experiment, ROOT).train.parent
        described = describe(experiment, files)
        if files.train.parent != place:  # prepared temporarily
            described = described.replace(str(files.train.parent), f"{place} (will be prepared)", 1)
        planned_stages = stages(experiment, run, files)
        refuse_idle_patience(experiment, planned_stages)
        commands = [f"  python {' '.join(stage.command)}" for stage in planned_stages]
        planned = training_plan(experiment, run, files) if experiment.stages == ("alignment",) else None
    if lacking := lacking_devices(experiment):
        described += f"\ndevices:       cannot start here: {lacking}"
    try:
        refuse_small_disk(experiment, run.path)
    except ExperimentError as error:
        described += f"\ndisk:          cannot start here: {error}"
    if not full:
        where = short(run.path)
        return f"{described}\nfolder:        {where}  (--dry_run full: environment, commands, verl's configuration)"
    files = datafiles.locate(experiment, ROOT)
    parts = [described, "\nenvironment:"]
    parts += [f"  {name}={value}" for name, value in environment(experiment, run).items()]
    parts.append("commands:")
    parts += commands
    if planned is not None:
        return "\n".join([*parts, f"{run.path / PLAN_FILE}:", yaml.safe_dump(asdict(planned), sort_keys=False)])
    configure, base = (rl_config, "ppo_trainer") if "rl" in experiment.stages else (sft_config, "sft_trainer_engine")
    config = configure(
        experiment,
        run=run,
        model=absolute(experiment.model),
        train_file=files.train,
        test_file=files.test,
        resume_from=None,
    )
    parts += [f"{run.path / VERL_FILE} (overrides of verl's {base}):", yaml.safe_dump(config, sort_keys=False)]
    return "\n".join(parts)
