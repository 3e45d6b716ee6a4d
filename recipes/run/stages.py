"""The stages a run consists of, with the inputs of each."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from data_prep.own_texts import FILE
from data_prep.schema import content_hash
from eval.evaluate import RESULTS
from eval.models import Weights, find_model, short_title
from eval.problems import Settings
from recipes.common.loopback import side_by_side
from recipes.common.run_dir import RunDir, complete_checkpoints, read_metrics, write_json, write_text
from recipes.data.datafiles import DataFiles
from recipes.run.run_stage import RL_MODULE, Stage
from recipes.run.suites import Part
from recipes.settings.data_sets import data_title
from recipes.settings.early_stopping import ACCURACY, HELD_OUT_LOSS
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.verl_config import REINFORCEMENT, SUPERVISED, rl_config, sft_config
from recipes.watch.supervise import START_HINT

VERL_FILE = "verl.yaml"
EVALUATE_FILE = "evaluate.json"
OWN_TEXTS = "eval/own_texts"
LEAVE_OUT = "(--own_texts 0 skips this)"

_GO_ON = "The same command continues with the unanswered problems."


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled in an evaluation; the default is one greedy answer, as in training's validation."""

    n_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    ks: tuple[int, ...] | None = None
    """The k of pass@k; None: 1, 2, 4 .. n_samples."""

    @property
    def suffix(self) -> str:
        """Suffix of the folder's name, which keeps greedy and sampled evaluations of a model apart."""
        drawn = f"-n{self.n_samples}-t{self.temperature:g}" if self.temperature else ""
        return drawn + (f"-p{self.top_p:g}" if self.top_p < 1 else "")

    def __str__(self) -> str:
        if self.temperature == 0:
            return "a greedy answer per problem"
        top_p = f", top_p {self.top_p:g}" if self.top_p < 1 else ""
        return f"{self.n_samples} sampled answer(s) per problem (temperature {self.temperature:g}{top_p})"


def rl_stage(experiment: Experiment, run: RunDir, files: DataFiles, model: str) -> Stage:
    def prepare(scratch: Path) -> None:
        _write_config(run, rl_config(experiment, ray_folder=scratch, **_inputs(run, files, model)))

    overrides = stage_overrides(experiment).get(REINFORCEMENT, ())
    module = [*RL_MODULE, str(run.path), *overrides]
    title = f"{experiment.algorithm.name} on {data_title(experiment.data)}"
    return Stage(title, run, module, experiment.T, START_HINT, prepare, ends_with_checkpoint=True, validated=ACCURACY)


def sft_stage(experiment: Experiment, run: RunDir, files: DataFiles, model: str) -> Stage:
    def prepare(_: Path) -> None:
        _write_config(run, sft_config(experiment, **_inputs(run, files, model)))

    overrides = stage_overrides(experiment).get(SUPERVISED, ())
    module = ["-m", "recipes.verl_plugin.sft_main", str(run.path), *overrides]
    command = [*side_by_side(experiment.n_gpu), *module] if experiment.n_gpu > 1 else module
    name = experiment.algorithm.name if experiment.stages == ("sft",) else "sft"
    return Stage(
        f"{name} on {data_title(experiment.data)}",
        run,
        command,
        sft_steps(experiment, files),
        "starting verl's SFT trainer",
        prepare,
        validated=HELD_OUT_LOSS,
    )


def stage_overrides(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """The user's overrides for each verl stage, by the name of verl's configuration.

    Raises:
        ExperimentError: for an override that no stage of the run accepts.
    """
    if not experiment.overrides:
        return {}
    # Reading verl's configuration takes a second.
    from recipes.verl_plugin.compose import split_overrides

    return split_overrides(experiment)


def _inputs(run: RunDir, files: DataFiles, model: str) -> dict[str, Any]:
    """The inputs of a trainer, as absolute paths because workers run in other folders."""
    return {
        "run": run,
        "model": absolute(model),
        "train_file": files.train.resolve(),
        "test_file": files.test.resolve(),
        "resume_from": newest_checkpoint(run),
    }


def evaluation_stage(
    experiment: Experiment,
    run: RunDir,
    owner: RunDir,
    test: Callable[[], Path],
    name: str,
    model: str,
    step: int | None = None,
) -> Stage:
    """Accuracy of a model, greedy or over --val_samples answers, recorded as `step` of the stage `owner`.

    Args:
        test: returns the file of problems in the experiment's prompt style; called when the stage starts.
        step: None: the owner's last step by then.
    """
    folder, part = RunDir(run.path / "eval" / name), Part(name, experiment.data)
    sampling = Sampling(experiment.val_samples, experiment.temperature) if experiment.val_samples else Sampling()

    def record() -> dict[str, Any]:
        return {"run": str(owner.path), "step": last_step(owner, 0) if step is None else step}

    stage = _evaluation(experiment, folder, test, part, Weights(model), sampling, f"the {name} model", record)
    return replace(stage, go_on="The same command with --resume repeats this evaluation; the training is kept.")


def part_stage(
    experiment: Experiment, folder: RunDir, files: DataFiles, part: Part, weights: Weights, sampling: Sampling
) -> Stage:
    """One part of --eval, in its own folder; it does not enter the records of a run."""
    title = f"{short_title(weights)} on {part.name}"
    nowhere = {"run": None, "step": None}
    stage = _evaluation(experiment, folder, lambda: files.test, part, weights, sampling, title, lambda: nowhere)
    return replace(stage, go_on=_GO_ON)


def harness_stage(experiment: Experiment, folder: RunDir, part: Part, weights: Weights) -> Stage:
    """A part of --eval that lm-evaluation-harness runs."""
    command = ["-m", "recipes.run.harness_stage", "--suite", part.data, "--model", absolute(weights.path)]
    command += ["--out", str(folder.path), "--device", experiment.device]
    command += ["--seed", str(experiment.seed), "--limit", str(experiment.val_size)]
    command += ["--lora", weights.adapter] if weights.adapter else []
    source = experiment.data_options.get("source")
    command += ["--local_data", source] if source else []
    command += ["--skip", *part.skip] if part.skip else []
    title = f"{part.name} by lm-evaluation-harness"
    return Stage(title, folder, command, 1, "loading the model", lambda _: None, go_on=_GO_ON)


def own_texts_stage(experiment: Experiment, run: RunDir, step: int) -> Stage:
    """Measures forgetting, recorded as the last step of the run, which is `step` unless the run ends early."""
    e, folder = experiment, RunDir(run.path / OWN_TEXTS)
    file = folder.path / "own_texts.json"

    def prepare(_: Path) -> None:
        last = last_step(run, step)
        measured = {"base": absolute(e.model), "trained": str(run.hf / "last"), "count": e.own_texts, "seed": e.seed}
        write_json(
            file, {"run": str(run.path), "step": last, "measured": {**measured, "device": e.device, "dtype": e.dtype}}
        )

    command = ["-m", "recipes.run.own_texts_stage", str(file)]
    title = "measuring forgetting"
    written = "" if (Path(absolute(e.model)) / FILE).exists() else "written and "
    starting = f"{e.own_texts} texts of the base, {written}read by it and by the trained model {LEAVE_OUT}"
    go_on = (
        f"The training is complete: weights, summary and model card are in {run.path}. The same command with --resume "
        f"repeats the measurement; with --resume --own_texts 0 it is skipped."
    )
    return Stage(title, folder, command, 1, starting, prepare, may_fail=True, result=RESULTS, go_on=go_on)


def last_step(run: RunDir, planned: int) -> int:
    """The last step that a stage has made; --early_stopping may have ended it before the planned one."""
    return max((row["step"] for row in read_metrics(run.metrics)), default=planned)


def _evaluation(
    experiment: Experiment,
    folder: RunDir,
    test: Callable[[], Path],
    part: Part,
    weights: Weights,
    sampling: Sampling,
    what: str,
    record: Callable[[], dict[str, Any]],
) -> Stage:
    def prepare(_: Path) -> None:
        problems = test().resolve()
        settings = Settings(
            model=absolute(weights.path),
            adapter=weights.adapter,
            data=str(problems),
            data_hash=content_hash(problems),
            sources=part.sources,
            prompt_style=experiment.prompt_style,
            reward=experiment.reward,
            max_prompt_length=experiment.max_prompt_length,
            max_response_length=experiment.max_response_length,
            limit=experiment.val_size,
            seed=experiment.seed,
            dtype=experiment.dtype,
            n_samples=sampling.n_samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
        )
        engine = {"device": experiment.device, "gpu_memory": experiment.rollout_memory, "ks": sampling.ks}
        given = {"settings": asdict(settings), **engine, **record()}
        write_json(folder.path / EVALUATE_FILE, given)

    command = ["-m", "recipes.run.evaluate_stage", str(folder.path / EVALUATE_FILE)]
    return Stage(f"evaluating {what}", folder, command, 1, "loading the model into vLLM", prepare, result=RESULTS)


def newest_checkpoint(run: RunDir) -> Path | None:
    complete = complete_checkpoints(run.checkpoints)
    return complete[-1][1] if complete else None


def sft_steps(experiment: Experiment, files: DataFiles) -> int:
    return experiment.sft_epochs * (files.n_train // experiment.batch_size)


def absolute(model: str) -> str:
    """A folder's absolute path (workers run elsewhere); a hub name unchanged."""
    folder = Path(find_model(model))
    return str(folder.resolve()) if folder.is_dir() else model


def _write_config(run: RunDir, config: dict[str, Any]) -> None:
    write_text(run.path / VERL_FILE, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
