"""The stages of a run: which processes it consists of, in which order, and what each starts from."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from recipes import ROOT
from recipes.common.errors import ExperimentError
from recipes.common.loopback import side_by_side
from recipes.common.run_dir import RunDir
from recipes.data import copies, datafiles
from recipes.data.datafiles import DataFiles
from recipes.data.demonstrations import taught
from recipes.flags.resolve import build_experiment
from recipes.run.run_stage import Stage
from recipes.run.stages import absolute, evaluation_stage, newest_checkpoint, own_texts_stage, rl_stage, sft_stage
from recipes.settings import applies
from recipes.settings.data_sets import data_title
from recipes.settings.early_stopping import ANSWERS_LOSS
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named
from recipes.settings.saved import training_record
from recipes.settings.tasks import validated_on
from recipes.settings.trackers import run_name
from recipes.trl_plugin.plan import TrainingPlan, check_plan, count_rows, total_steps, write_plan
from recipes.verl_plugin.loss_config import supervised_shape


def stages(experiment: Experiment, run: RunDir, files: DataFiles) -> list[Stage]:
    """The stages of a run in order. The last training stage writes to the run's own folder."""
    found = _training_stages(experiment, run, files)
    if not experiment.own_texts:
        return found
    trained = next(stage for stage in found if stage.folder == run)
    return [*found, own_texts_stage(experiment, run, trained.total_steps)]


def refuse_idle_patience(experiment: Experiment, found: list[Stage]) -> None:
    """Raise ExperimentError for an --early_stopping that cannot end any stage of a run, if their steps are known."""
    e = experiment
    ends = {stage.title: (stage.validated.first + e.early_stopping) * e.test_freq for stage in found if stage.validated}
    steps = {stage.title: stage.total_steps for stage in found if stage.validated}
    if not e.early_stopping or not all(steps.values()) or any(ends[name] < steps[name] for name in ends):
        return
    earliest = ", ".join(f"{name} at step {ends[name]} of {steps[name]}" for name in ends)
    raise ExperimentError(
        f"--early_stopping {e.early_stopping}: never takes effect; with a validation every --test_freq {e.test_freq} "
        f"steps it would end {earliest} at the earliest; use a smaller value, or validate more often"
    )


def _training_stages(experiment: Experiment, run: RunDir, files: DataFiles) -> list[Stage]:
    """Training, with an evaluation before and after if it does not validate itself."""
    kinds = experiment.stages
    if kinds == ("alignment",):
        return _alignment_stages(experiment, run, files)
    if kinds == ("rl",):
        return [rl_stage(experiment, run, files, experiment.model)]
    supervised = run if kinds == ("sft",) else RunDir(run.path / "sft")
    solved = taught(experiment, files)
    weights = str(supervised.hf / "last")

    def test() -> Path:
        return files.test

    found = [
        evaluation_stage(experiment, run, supervised, test, "base", experiment.model, step=0),
        sft_stage(experiment, supervised, solved, experiment.model),
    ]
    if kinds == ("sft",):
        return [*found, evaluation_stage(experiment, run, run, test, "trained", weights)]
    # The reinforcement stage validates the model it starts from, which is the supervised one.
    return [*found, rl_stage(experiment, run, files, weights)]


def _alignment_stages(experiment: Experiment, run: RunDir, files: DataFiles) -> list[Stage]:
    """Training on answers; if a verifier can score the model's own answers, an evaluation before and after."""
    plan = training_plan(experiment, run, files)
    steps = total_steps(plan, count_rows(plan)) if files.train.exists() else 0

    def prepare(_: Path) -> None:
        checkpoint = newest_checkpoint(run)
        resume_from = None if checkpoint is None else str(checkpoint)
        write_plan(replace(plan, resume_from=resume_from), run.path)

    module = ["-m", "recipes.trl_plugin.main", str(run.path)]
    command = [*side_by_side(plan.devices), *module] if plan.devices > 1 else module
    title = f"{experiment.algorithm.name} on {data_title(experiment.data)}"
    by = ANSWERS_LOSS if applies.validations(experiment.algorithm, experiment.stages) else None
    training = Stage(title, run, command, steps, "starting TRL", prepare, validated=by)
    problems = _verification(experiment)
    if problems is None:
        return [training]
    test = partial(_test_problems, problems, run.path / "data/verification")
    weights = str(run.hf / "last")
    return [
        evaluation_stage(problems, run, run, test, "base", experiment.model, step=0),
        training,
        evaluation_stage(problems, run, run, test, "trained", weights),
    ]


def training_plan(experiment: Experiment, run: RunDir, files: DataFiles) -> TrainingPlan:
    """The configuration for recipes/trl_plugin. Raises ExperimentError for contradictory settings."""
    e = experiment
    plan = TrainingPlan(
        method=e.method,
        model=absolute(e.model),
        train_file=str(files.train.resolve()),
        test_file=str(files.test.resolve()),
        run_dir=str(run.path),
        device=e.device,
        devices=e.n_gpu,
        dtype=e.dtype,
        seed=e.seed,
        lora_rank=e.lora_rank,
        alignment=e.alignment,
        prompt_style=e.prompt_style,
        test_freq=e.test_freq,
        save_freq=e.save_freq,
        val_size=e.val_size,
        keep_checkpoints=e.keep_checkpoints,
        logger=tuple(name for name in e.logger if name != "file"),
        resume_from=None,
        shape=supervised_shape(e),
        record=asdict(training_record(e)),
        project=e.project,
        run_name=run_name(e.run_name, run),
        early_stopping=e.early_stopping,
    )
    check_plan(plan)
    return plan


def _verification(experiment: Experiment) -> Experiment | None:
    """An experiment that evaluates a model trained on answers; None if there are no problems for it."""
    verified = validated_on(experiment.data, experiment.stages)
    if verified is None:
        return None
    same = ("model", "prompt_style", "val_size", "val_samples", "temperature", "seed", "rollout_memory", "dtype")
    flags: dict[str, Any] = {"algo": "rft", "data": verified, **{name: getattr(experiment, name) for name in same}}
    return build_experiment(flags, profile_named(experiment.profile))


def _test_problems(problems: Experiment, folder: Path) -> Path:
    """The file of an experiment's test problems in its prompt style, created if missing."""
    return copies.styled(problems, datafiles.prepared(problems, ROOT), folder).test
