"""The suites of lm-evaluation-harness that we run: their benchmarks, shots and scores, and where their data is.

A local copy of the data is a folder with <dataset>/[<subset>/]<split>.jsonl (or .json, .parquet, or the hub's own
<split>-00000-of-00001.parquet), dataset being the last part of the hub's name: mmlu/anatomy/test.jsonl.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eval import villm


class HarnessError(ValueError):
    """A suite that cannot be run as requested; the message says which benchmarks and what to do."""


@dataclass(frozen=True)
class Benchmark:
    """One row of a suite's table.

    tasks: tasks or groups of the harness. metric: what is reported, with its filter. remedy: specific advice if it
    cannot be loaded.
    """

    name: str
    tasks: tuple[str, ...]
    shots: int
    metric: str
    remedy: str = ""


_GATED = (
    "the authors gate it: ask for access at https://huggingface.co/datasets/Idavidrein/gpqa with your account, then "
    "`hf auth login`"
)
_IFEVAL = (
    "`pip install --no-deps langdetect==1.0.9 immutabledict==4.3.1`, then "
    "`python -c \"import nltk; nltk.download('punkt_tab')\"`"
)

SUITES = {
    "leaderboard_new": (
        Benchmark("bbh", ("leaderboard_bbh",), 3, "acc_norm,none"),
        Benchmark("gpqa", ("leaderboard_gpqa",), 0, "acc_norm,none", _GATED),
        Benchmark("mmlu_pro", ("leaderboard_mmlu_pro",), 5, "acc,none"),
        Benchmark("musr", ("leaderboard_musr",), 0, "acc_norm,none"),
        Benchmark("ifeval", ("leaderboard_ifeval",), 0, "prompt_level_strict_acc,none", _IFEVAL),
        Benchmark("math_hard", ("leaderboard_math_hard",), 4, "exact_match,none"),
    ),
    "leaderboard_old": (
        Benchmark("gsm8k", ("gsm8k",), 5, "exact_match,strict-match"),
        Benchmark("truthfulqa", ("truthfulqa_mc2",), 0, "acc,none"),
        Benchmark("winogrande", ("winogrande",), 5, "acc,none"),
        Benchmark("arc_challenge", ("arc_challenge",), 25, "acc_norm,none"),
        Benchmark("hellaswag", ("hellaswag",), 10, "acc_norm,none"),
        Benchmark("mmlu", ("mmlu",), 5, "acc,none"),
    ),
    "villm": (
        Benchmark("lambada_vi", ("lambada_vi",), 0, "acc,none"),
        Benchmark("exams_vi", villm.EXAMS, 5, "acc,none"),
        Benchmark("gkqa", ("wikipediaqa_vi",), 5, "acc,none"),
        Benchmark("comprehension_qa", ("comprehension_vi",), 0, "acc,none"),
    ),
}

# Folders of the harness's own tasks with the above; reading all of its more than ten thousand files takes long.
_FOLDERS = ("leaderboard", "gsm8k", "truthfulqa", "winogrande", "arc", "hellaswag", "mmlu")
_SPLIT_KEYS = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True)
class Loaded:
    """A benchmark with its tasks, ready to run (lm_eval.api.task.Task objects)."""

    benchmark: Benchmark
    tasks: tuple[Any, ...]


def load_suite(suite: str, local_data: Path | None = None, skip: Sequence[str] = (), seed: int = 0) -> list[Loaded]:
    """The benchmarks of a suite with their data, all of them or none. seed: for the order of gpqa's options.

    Raises:
        HarnessError: as `refuse_suite`, or naming every benchmark that cannot be loaded and why.
    """
    refuse_suite(suite, local_data, skip)
    loaded: list[Loaded] = []
    failed: dict[str, str] = {}
    for benchmark in SUITES[suite]:
        if benchmark.name in skip:
            continue
        try:
            loaded.append(Loaded(benchmark, tuple(_load(benchmark, local_data, seed))))
        except Exception as error:  # of any kind: from the harness, datasets, the network, missing packages
            failed[benchmark.name] = _explained(error) + (f"; {benchmark.remedy}" if benchmark.remedy else "")
    if failed:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
        raise HarnessError(
            f"{suite}: {len(failed)} of {len(SUITES[suite])} benchmarks cannot be loaded:\n{reasons}\n"
            f"Fix that, give the data with --local_data (in run.py: --data_path), or skip them with --skip "
            f"{' '.join(failed)}"
        )
    return loaded


def refuse_suite(suite: str, local_data: Path | None = None, skip: Sequence[str] = ()) -> None:
    """Raise HarnessError for what can be checked without loading anything: names, the folder, the harness itself."""
    if suite not in SUITES:
        raise HarnessError(f"--suite {suite}: unknown; there are {', '.join(SUITES)}")
    names = [benchmark.name for benchmark in SUITES[suite]]
    if unknown := [name for name in skip if name not in names]:
        raise HarnessError(f"--skip {' '.join(unknown)}: not in {suite}, which has {', '.join(names)}")
    if local_data is not None and not local_data.is_dir():
        raise HarnessError(f"{local_data}: no such folder")
    if find_spec("lm_eval") is None:
        raise HarnessError(
            "lm-evaluation-harness, which runs this suite, is not installed: .venv/bin/pip install --no-deps "
            "--require-hashes -r requirements/locked-eval.txt (without --no-deps pip would change packages that "
            "training needs)"
        )
    if set(names) <= {*skip}:
        raise HarnessError(f"--skip leaves nothing of {suite}")


def _once(process: Callable[[Any], Any], seed: int) -> Callable[[Any], Any]:
    """`process` with cached results and its own random numbers.

    The harness processes a split every time it accesses it, which shuffles gpqa's options; only its cache of processed
    data keeps question and key together, and that also keeps the order of a run with another seed.
    """
    import datasets

    kept: dict[int, tuple[Any, Any]] = {}

    def processed(items: Any) -> Any:
        if id(items) not in kept:
            state, cached = random.getstate(), datasets.is_caching_enabled()
            random.seed(seed)
            datasets.disable_caching()
            try:
                # The items are kept too, so that no other object can get their id.
                kept[id(items)] = items, process(items)
            finally:
                random.setstate(state)
                if cached:
                    datasets.enable_caching()
        return kept[id(items)][1]

    return processed


def _explained(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    first = lines[0][:300] if lines else ""
    if isinstance(error, HarnessError | villm.ItemError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _load(benchmark: Benchmark, local_data: Path | None, seed: int) -> list[Any]:
    from lm_eval.api.task import ConfigurableTask

    tasks = []
    for name in benchmark.tasks:
        for config in task_configs(name):
            config["num_fewshot"] = benchmark.shots
            if config.get("process_docs"):
                config["process_docs"] = _once(config["process_docs"], seed)
            where = config["dataset_path"]
            if local_data is not None:
                config = _on_local_files(config, local_data)
                where = config["dataset_kwargs"]["data_files"][_evaluated_split(config)]
            try:
                task = ConfigurableTask(config=config)
            except villm.ItemError as error:
                raise HarnessError(f"{where}, {error}") from None
            _check_examples(task, benchmark.shots, str(where))
            tasks.append(task)
    if benchmark.name == "ifeval":
        import nltk

        nltk.data.find("tokenizers/punkt_tab")
    return tasks


def _check_examples(task: Any, shots: int, where: str) -> None:
    """Check that there are enough items for the worked examples, which the harness finds out only while it runs."""
    from lm_eval.api.samplers import FirstNSampler

    # One extra example is drawn, in case the item itself is among them.
    needed = shots + (not isinstance(getattr(task, "sampler", None), FirstNSampler)) if shots else 0
    available = len(task.sampler.df) if needed else 0
    if available < needed:
        raise HarnessError(
            f"{where}: {task.task_name} has {available} items to take worked examples from, but needs {needed}"
        )


def task_configs(name: str) -> list[dict[str, Any]]:
    """The configurations of a task, or of all tasks of a group or (in alphabetical order) of a tag of the harness."""
    if name in (ours := villm.configs()):
        return [ours[name]]
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = manager().task_index[name]
    if entry.yaml_path is None:
        return [config for member in sorted(entry.tags) for config in task_configs(member)]
    if "group" in entry.cfg:
        return [config for member in entry.cfg["task"] for config in task_configs(member)]
    config = deepcopy(load_yaml(entry.yaml_path))
    return [_with_our_grader(config) if name.startswith("leaderboard_math_") else config]


@cache
def manager() -> Any:
    """The harness's index of its own tasks (lm_eval.tasks.TaskManager), restricted to the folders our suites need."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    root = Path(lm_eval.__file__).parent / "tasks"
    return TaskManager(include_defaults=False, include_path=[root / folder for folder in _FOLDERS])


# --- mathematics by our verifier -------------------------------------------------------------------------------------


def _with_our_grader(config: dict[str, Any]) -> dict[str, Any]:
    # The harness's own grader needs antlr 4.11, but hydra, which training depends on, needs 4.9.
    names = {"exact_match": True, "unreadable": False, "grader_failed": False}
    metrics = [{"metric": key, "aggregation": "mean", "higher_is_better": better} for key, better in names.items()]
    return {**config, "process_results": grade_mathematics, "metric_list": metrics, "metadata": {"version": "3.0-uft"}}


def grade_mathematics(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """exact_match: the final answer of a response equals item["answer"]; unreadable: there was none; grader_failed: the
    verifier hit a limit (then the answer counts as wrong)."""
    from reward_fns.registry import LimitReached, VerifierFailed, verify

    answer = final_answer(responses[0])
    if answer is None:
        return {"exact_match": 0.0, "unreadable": 1.0, "grader_failed": 0.0}
    try:
        decision = verify(answer, item["answer"])
    except (LimitReached, VerifierFailed):
        return {"exact_match": 0.0, "unreadable": 0.0, "grader_failed": 1.0}
    return {
        "exact_match": float(decision["equal"]),
        "unreadable": float(not decision["readable"]),
        "grader_failed": 0.0,
    }


def final_answer(response: str) -> str | None:
    r"""The text after "the final answer is", as in the worked examples, else in the last \boxed{}; or None."""
    from reward_fns.math.reward import last_boxed

    lead = "final answer is"
    at = response.lower().find(lead)
    if at < 0:
        return last_boxed(response)
    line = response[at + len(lead) :].strip().partition("\n")[0]
    sentence = line.partition("I hope it is correct")[0].strip()
    return sentence.removesuffix(".").strip() or last_boxed(response)


# --- local data ------------------------------------------------------------------------------------------------------


def _evaluated_split(config: dict[str, Any]) -> str:
    return str(config.get("test_split") or config["validation_split"])


def _on_local_files(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration with its data from `folder`; splits without a file are dropped unless they are needed."""
    place = folder / config["dataset_path"].split("/")[-1]
    subset = config.get("dataset_name")
    if subset and (place / subset).is_dir():
        place = place / subset
    needed = {_evaluated_split(config)}
    samples = (config.get("fewshot_config") or {}).get("samples")
    examples = config.get("fewshot_split") or config.get("training_split")
    if config["num_fewshot"] and samples is None and examples:
        # Without it the harness would take worked examples from the evaluated split.
        needed.add(examples)
    files: dict[str, list[Path]] = {}
    for key in _SPLIT_KEYS:
        split = config.get(key)
        if split and split not in files and (found := _files(place, split)):
            files[split] = found
    if missing := sorted(needed - set(files)):
        raise HarnessError(f"{place}: no file {' or '.join(f'{split}.jsonl' for split in missing)}")
    kinds = {path.suffix for paths in files.values() for path in paths}
    if len({"json" if kind != ".parquet" else "parquet" for kind in kinds}) > 1:
        raise HarnessError(f"{place}: files of different formats ({', '.join(sorted(kinds))}); use one")
    local = {key: config.get(key) if config.get(key) in files else None for key in _SPLIT_KEYS}
    return {
        **config,
        **local,
        "dataset_path": "parquet" if kinds == {".parquet"} else "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: [str(path) for path in paths] for split, paths in files.items()}},
    }


def _files(place: Path, split: str) -> list[Path]:
    patterns = (f"{split}.jsonl", f"{split}.json", f"{split}.parquet", f"{split}-*.parquet", f"data/{split}-*.parquet")
    return next((found for pattern in patterns if (found := sorted(place.glob(pattern)))), [])
