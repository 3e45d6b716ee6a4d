"""Answers of a model to a file of our schema, scored: the same prompts, engine and rewards as training's validation.

    python -m eval.evaluate --model out/<name> --data data/countdown/test.parquet --out out/eval --n_samples 8
writes items.jsonl (one line a problem and sample; a stopped evaluation goes on where it was) and results.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_prep.prompt_styles import STYLES, question_text
from data_prep.schema import content_hash, plain
from eval.metrics import summarise
from eval.models import Weights, resolve_model
from reward_fns import compute_score

ITEMS, RESULTS, SETTINGS = "items.jsonl", "results.json", "settings.json"
# Problems between two writes of items.jsonl: what a kill can cost.
CHUNK = 256


class EvaluationError(ValueError):
    """An evaluation that cannot be done as asked."""


@dataclass(frozen=True)
class Settings:
    """What defines an evaluation: two with equal settings give equal items."""

    model: str
    """Hugging Face name or folder of the full weights."""

    adapter: str | None
    """LoRA adapter on top of them."""

    data: str
    """Parquet file of our schema, in the prompt style below."""

    data_hash: str
    """Of its rows."""

    sources: tuple[str, ...]
    """Only rows of these data sources; empty is all."""

    prompt_style: str
    """How its prompts are written, and where answers stand."""

    reward: str | None
    """A reward's name or path.py:function; None goes by data_source."""

    n_samples: int
    """Answers a problem."""

    temperature: float
    """0 is greedy."""

    top_p: float
    """Nucleus sampling."""

    max_prompt_length: int
    """Context is this plus the next, or more if a prompt is longer."""

    max_response_length: int
    """Most tokens of an answer."""

    limit: int
    """First so many problems; -1 is all."""

    seed: int
    """Of sampling."""

    dtype: str
    """Precision of the engine."""

    @property
    def hash(self) -> str:
        """Eight hex digits naming these settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Problem:
    """A row to be answered."""

    number: int
    messages: list[dict[str, str]]
    data_source: str
    ground_truth: Any
    group: str | None


def load_problems(settings: Settings) -> list[Problem]:
    """The problems of the file that the settings ask for."""
    import pyarrow.parquet as parquet

    rows = parquet.read_table(settings.data, columns=["prompt", "data_source", "reward_model", "extra_info"])
    problems = [
        Problem(
            number,
            row["prompt"],
            row["data_source"],
            plain(row["reward_model"]["ground_truth"]),
            group_of(row["data_source"], row["reward_model"]["ground_truth"]),
        )
        for number, row in enumerate(rows.to_pylist())
        if not settings.sources or row["data_source"] in settings.sources
    ]
    if not problems:
        raise EvaluationError(f"{settings.data}: no problems of {', '.join(settings.sources) or 'any source'} in it")
    return problems[: settings.limit] if settings.limit > 0 else problems


def group_of(data_source: str, ground_truth: Any) -> str | None:
    """The part of a benchmark that a problem belongs to: how many people or numbers, which subject."""
    if data_source == "kk_logic":
        return f"{len(ground_truth['names'])} people"
    if data_source == "countdown":
        return f"{len(ground_truth['numbers'])} numbers"
    return ground_truth.get("subject") if isinstance(ground_truth, dict) else None


def generate(
    settings: Settings, problems: list[Problem], weights: Weights, device: str
) -> Iterator[list[dict[str, Any]]]:
    """The answers of each chunk of problems in turn: {problem, sample, input, output, tokens, truncated}."""
    if device == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from transformers import AutoTokenizer
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    tokenizer = AutoTokenizer.from_pretrained(weights.path)
    template = STYLES[settings.prompt_style].template(tokenizer.chat_template)
    texts = [
        tokenizer.apply_chat_template(
            problem.messages, chat_template=template, add_generation_prompt=True, tokenize=False
        )
        for problem in problems
    ]
    inputs = [{"prompt_token_ids": tokenizer(text, add_special_tokens=False)["input_ids"]} for text in texts]
    # Training leaves longer prompts out; an evaluation may not choose its problems.
    longest = max(settings.max_prompt_length, *(len(each["prompt_token_ids"]) for each in inputs))
    context = longest + settings.max_response_length
    # A prompt that is read in parts makes vLLM rewind the request's random generator, which only a GPU's can.
    whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(8192, context)} if device == "cpu" else {}
    adapter = {"enable_lora": True, "max_lora_rank": max(16, weights.adapter_rank)} if weights.adapter else {}
    engine = LLM(
        model=weights.path,
        dtype=settings.dtype,
        enforce_eager=device == "cpu",
        max_model_len=context,
        seed=settings.seed,
        **whole,
        **adapter,
    )
    request = LoRARequest("adapter", 1, weights.adapter) if weights.adapter else None
    for start in range(0, len(problems), CHUNK):
        chunk = range(start, min(start + CHUNK, len(problems)))
        sampling = [
            SamplingParams(
                n=settings.n_samples,
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_tokens=settings.max_response_length,
                # Per problem, so that an answer does not depend on which others are asked with it.
                seed=None if settings.temperature == 0 else settings.seed * 1_000_003 + problems[at].number,
            )
            for at in chunk
        ]
        found = engine.generate([inputs[at] for at in chunk], sampling, use_tqdm=False, lora_request=request)
        yield [
            {
                "problem": problems[at].number,
                "sample": number,
                "input": texts[at],
                "output": output.text,
                "tokens": len(output.token_ids),
                "truncated": output.finish_reason == "length",
            }
            for at, answers in zip(chunk, found, strict=True)
            for number, output in enumerate(answers.outputs)
        ]


def judge(settings: Settings, problem: Problem, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with its verdict: a line of items.jsonl."""
    verdict = compute_score(
        problem.data_source,
        answer["output"],
        problem.ground_truth,
        {"question": question_text(problem.messages)},
        reward=settings.reward,
        answer_format=STYLES[settings.prompt_style].answer_format,
    )
    group = {"group": problem.group} if problem.group else {}
    return {**answer, "data_source": problem.data_source, **group, **verdict, "ground_truth": problem.ground_truth}


def evaluate(
    settings: Settings,
    out: Path,
    *,
    device: str,
    ks: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Generate, score and summarise into `out`; what items.jsonl already holds is kept.

    Args:
        ks: the k of pass@k; without them 1, 2, 4 .. n_samples.

    Returns:
        what results.json holds: settings, versions, seconds, and eval.metrics.summarise of the items.

    Raises:
        EvaluationError: when `out` holds an evaluation with other settings.
    """
    started = time.time()
    items = _begin(settings, out)
    problems = load_problems(settings)
    done = {item["problem"] for item in items}
    left = [problem for problem in problems if problem.number not in done]
    by_number = {problem.number: problem for problem in left}
    progress(len(done), len(problems))
    if left:
        with (out / ITEMS).open("a", encoding="utf-8") as file, ThreadPoolExecutor() as threads:
            for answers in generate(settings, left, Weights(settings.model, settings.adapter), device):
                judged = list(threads.map(lambda a: judge(settings, by_number[a["problem"]], a), answers))
                file.write("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in judged))
                file.flush()
                os.fsync(file.fileno())
                items += judged
                progress(len({item["problem"] for item in items}), len(problems))
    result = {
        **summarise(items, ks),
        "settings": asdict(settings),
        "settings_hash": settings.hash,
        "seconds": round(time.time() - started, 1),
        "versions": {name: version(name) for name in ("vllm", "torch", "transformers", "math-verify")},
    }
    _replace(out / RESULTS, result)
    return result


def _begin(settings: Settings, out: Path) -> list[dict[str, Any]]:
    """The whole items of an earlier start with the same settings; a line torn by a kill is cut off."""
    out.mkdir(parents=True, exist_ok=True)
    saved = out / SETTINGS
    if saved.exists() and json.loads(saved.read_text()) != json.loads(json.dumps(asdict(settings))):
        raise EvaluationError(f"{out} holds an evaluation with other settings ({saved}); choose another folder")
    _replace(saved, asdict(settings))
    if not (out / ITEMS).exists():
        return []
    whole: list[dict[str, Any]] = []
    for line in (out / ITEMS).read_text(encoding="utf-8").splitlines():
        try:
            whole.append(json.loads(line))
        except json.JSONDecodeError:
            break
    # A problem counts when all its samples are there.
    counts: dict[int, int] = {}
    for item in whole:
        counts[item["problem"]] = counts.get(item["problem"], 0) + 1
    whole = [item for item in whole if counts[item["problem"]] == settings.n_samples]
    text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in whole)
    scratch = out / f".{ITEMS}.tmp"
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, out / ITEMS)
    return whole


def _replace(path: Path, value: Any) -> None:
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(scratch, path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Hugging Face name or folder, run, checkpoint or adapter")
    parser.add_argument("--data", required=True, type=Path, help="parquet file of our schema")
    parser.add_argument("--out", required=True, type=Path, help="folder for items.jsonl and results.json")
    parser.add_argument("--sources", nargs="*", default=[], help="only rows of these data sources")
    parser.add_argument("--prompt_style", choices=STYLES, default="completion", help="the style --data is written in")
    parser.add_argument("--reward", help="a reward's name or path/to/file.py:function; default: by the data")
    parser.add_argument("--n_samples", type=int, default=1, help="answers a problem")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top_p", type=float, default=1.0)
    parser.add_argument("--max_prompt_length", type=int, default=1024)
    parser.add_argument("--max_response_length", type=int, default=1024)
    parser.add_argument("--limit", type=int, default=-1, help="first so many problems; -1 is all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    given = vars(parser.parse_args())
    out, device, data = given.pop("out"), given.pop("device"), given.pop("data")
    weights = resolve_model(given.pop("model"))
    settings = Settings(
        model=weights.path,
        adapter=weights.adapter,
        data=str(data.resolve()),
        data_hash=content_hash(data),
        dtype="float32" if device == "cpu" else "bfloat16",
        **{**given, "sources": tuple(given["sources"])},
    )
    print(json.dumps(evaluate(settings, out, device=device), indent=1))


if __name__ == "__main__":
    main()
