"""--eval: a model on tasks, lists of tasks and suites; one folder per part, one summary."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.evaluate import RESULTS
from eval.harness_tasks import HarnessError, refuse_suite
from eval.models import Weights
from recipes import ROOT
from recipes.checks.model_check import refuse_model
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, read_json, write_json, write_text
from recipes.data import copies, data_check, datafiles
from recipes.run.launch import taken
from recipes.run.place import refuse_place, refuse_unwritable
from recipes.run.refuse import lacking_devices, refuse_absent, refuse_missing_devices
from recipes.run.resume import as_begun
from recipes.run.run_stage import Stage, run_stage, shared_imports
from recipes.run.stages import EVALUATE_FILE, Sampling, harness_stage, part_stage
from recipes.run.suites import Part
from recipes.settings.experiment import Experiment
from recipes.settings.saved import read_experiment, to_yaml
from recipes.watch.scratch import data_folder

RECORD = "evaluation.yaml"
"""File in a part's folder with its settings."""


def evaluate(
    experiments: dict[Part, Experiment], weights: Weights, sampling: Sampling, out: Path, *, stall_minutes: float
) -> int:
    """Evaluate every part in turn, skipping finished work. Returns the exit code.

    If a part fails, the others still run; the exit code is that of the first failure.

    Args:
        experiments: settings of each part.

    Raises:
        ExperimentError: if the folder contains a training run or an evaluation with other settings.
        RunBusyError: if another command is using the folder.
    """
    refuse_place(out)
    folder = RunDir(out.resolve())
    for experiment in experiments.values():
        refuse_missing_devices(replace(experiment, n_gpu=1))
    _refuse_suites(experiments)
    for model in {experiment.model for experiment in experiments.values()}:
        refuse_absent(model)
    _refuse_models(experiments)
    with taken(folder.path), shared_imports(next(iter(experiments.values())).device):
        _refuse_others(experiments, sampling, folder)
        return _evaluate(experiments, weights, sampling, folder, stall_minutes)


def check(experiments: Mapping[Part, Experiment], sampling: Sampling, out: Path) -> None:
    """Raise ExperimentError in a dry run for whatever `evaluate` would refuse; leaves no files. Missing devices
    are only reported."""
    lacking = {text for each in experiments.values() if (text := lacking_devices(replace(each, n_gpu=1)))}
    print("".join(f"devices:       cannot start here: {text}\n" for text in sorted(lacking)), end="")
    refuse_unwritable(out)
    _refuse_others(experiments, sampling, RunDir(out.resolve()))
    _refuse_suites(experiments)
    _refuse_models(experiments)
    for part, experiment in experiments.items():
        if part.harness:
            continue
        with datafiles.made(experiment, ROOT, keep=False) as files, data_folder() as folder:
            if files.generate is None:
                _tell_part(experiment, files)
                copies.styled(experiment, files, Path(folder))
                data_check.check_reward(experiment, files.test)
        if files.generate is not None:
            with datafiles.sampled(experiment) as few:
                if few is not None:
                    data_check.check_reward(experiment, few.test)


def _tell_part(experiment: Experiment, files: datafiles.DataFiles) -> None:
    if Path(experiment.data).is_file():
        count = f"{files.n_test} of {files.n_train + files.n_test} problems"
        print(f"{experiment.data}: {count}, the part that training holds out (docs/custom_data.md#the-split)")


def _refuse_others(experiments: Mapping[Part, Experiment], sampling: Sampling, folder: RunDir) -> None:
    if folder.experiment.exists():
        raise ExperimentError(f"{folder.path} contains a training run; give the evaluation another --out")
    for part, experiment in experiments.items():
        refuse_other(RunDir(folder.path / part.name), experiment, None if part.harness else sampling)


def _refuse_models(experiments: Mapping[Part, Experiment]) -> None:
    for part, experiment in experiments.items():
        if not part.harness:
            refuse_model(experiment, trains=False)


def _refuse_suites(experiments: Mapping[Part, Experiment]) -> None:
    for part, source in ((part, each.data_options.get("source")) for part, each in experiments.items() if part.harness):
        try:
            refuse_suite(part.data, Path(source) if source else None, part.skip)
        except HarnessError as error:
            raise ExperimentError(f"--data {part.data}: {error}") from None


def refuse_other(place: RunDir, experiment: Experiment, sampling: Sampling | None) -> None:
    """Raise ExperimentError if a part's folder contains an evaluation with other settings or other sampling.

    Args:
        sampling: None for the harness, which uses its own.
    """
    record = place.path / RECORD
    if record.exists() and (saved := read_experiment(record)) != as_begun(saved, experiment):
        raise ExperimentError(f"{place.path} contains an evaluation with other settings ({record}); give another --out")
    begun = read_json(place.path / EVALUATE_FILE).get("settings", {})
    drawn = {name: begun[name] for name in ("n_samples", "temperature", "top_p") if name in begun}
    if sampling is not None and drawn and (before := replace(sampling, **drawn)) != sampling:
        raise ExperimentError(
            f"{place.path} contains an evaluation with {before}; this one needs {sampling}; give another --out"
        )


def _evaluate(
    experiments: dict[Part, Experiment], weights: Weights, sampling: Sampling, folder: RunDir, stall_minutes: float
) -> int:
    code = 0
    results: dict[str, Any] = {}
    # Prepare all first, so that a bad file of the last part is found before the first part runs.
    stages = {
        part: _stage(experiment, RunDir(folder.path / part.name), part, weights, sampling)
        for part, experiment in experiments.items()
    }
    for part, stage in stages.items():
        outcome = run_stage(experiments[part], stage, stall_minutes)
        print(outcome.paragraph, flush=True)
        code = code or outcome.exit_code
        if outcome.reason == "interrupted":
            return outcome.exit_code
        if outcome.exit_code == 0:
            results[part.name] = json.loads((stage.folder.path / RESULTS).read_text(encoding="utf-8"))
        write_json(folder.path / RESULTS, results)
    if results:
        print(f"\n{table(results, sampling.ks or ())}\n\nall answers: {folder.path}/<part>/", flush=True)
    return code


def _stage(experiment: Experiment, place: RunDir, part: Part, weights: Weights, sampling: Sampling) -> Stage:
    if part.harness:
        return harness_stage(experiment, place, part, weights)
    files = datafiles.prepared(experiment, ROOT)
    _tell_part(experiment, files)
    data_check.check_reward(experiment, files.test)
    files = copies.styled(experiment, files, place.path / "data")
    write_text(place.path / RECORD, to_yaml(experiment))
    return part_stage(experiment, place, files, part, weights, sampling)


def table(results: dict[str, Any], ks: Sequence[int] = ()) -> str:
    """One line per data source of every part, with an unweighted mean if a part has several.

    Args:
        ks: show pass@k for these k; without any, for the largest.
    """
    passes = [f"pass@{k}" for k in ks] or ["pass@n"]
    greedy = ["greedy"] if any("greedy" in result for result in results.values()) else []
    head = ("", "problems", "accuracy", "95 %", *greedy, *passes, "maj@n", "readable", "cut off", "tokens")
    rows: list[tuple[str, ...]] = [head]
    for name, result in results.items():
        if "sources" not in result:
            empty = [""] * (len(head) - 3)
            scores = {benchmark: found["score"] for benchmark, found in result["benchmarks"].items()}
            scores |= {"mean over benchmarks": result["mean"]} if len(scores) > 1 else {}
            rows += [(f"{name}: {task}", "", f"{score:.1%}", *empty) for task, score in scores.items()]
            continue
        labels = {source: f"{name}: {source}" if source != name else name for source in result["sources"]}
        blocks, beside = (_blocks(each, labels, name) for each in (result, result.get("greedy", {})))
        for label, block in blocks.items():
            also = [f"{beside[label]['accuracy']:.1%}" if label in beside else ""] if greedy else []
            rows.append((label, *_cells(block, ks, also)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def _blocks(result: Mapping[str, Any], labels: Mapping[str, str], name: str) -> dict[str, dict[str, float]]:
    blocks = {labels[source]: block for source, block in result.get("sources", {}).items()}
    if len(blocks) > 1:
        blocks[f"{name}: mean over sources"] = result["mean_over_sources_unweighted"]
    return blocks


def _cells(block: dict[str, float], ks: Sequence[int], greedy: Sequence[str]) -> tuple[str, ...]:
    def last(prefix: str) -> str:
        named = [(int(name.removeprefix(prefix)), value) for name, value in block.items() if name.startswith(prefix)]
        return f"{max(named)[1]:.1%}@{max(named)[0]}" if named else ""

    return (
        f"{block['problems']:.0f}",
        f"{block['accuracy']:.1%}",
        f"{block['accuracy_low']:.1%}-{block['accuracy_high']:.1%}",
        *greedy,
        *([f"{block[f'pass@{k}']:.1%}" for k in ks] or [last("pass@")]),
        last("maj@"),
        f"{block['format_rate']:.1%}",
        f"{block['truncation_rate']:.1%}",
        f"{block['tokens_mean']:.0f}",
    )
