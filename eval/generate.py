"""Answers of a model by vLLM, chunk by chunk, each with its own seed."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from data_prep.prompt_styles import STYLES
from data_prep.tokens import chat_template, decode_response, encode_question
from eval.models import Weights
from eval.problems import Problem, Settings

# Problems between two writes of items.jsonl, which is what a kill can cost. Larger is faster: while the last answers of
# a chunk are decoded, most of a GPU idles.
CHUNK = {"cpu": 256, "cuda": 1024}

GREEDY = -1
"""The sample number of the greedy answer that every problem has in addition to sampled ones."""


def sample_seed(seed: int, problem: Problem, sample: int) -> int:
    """Seed of one answer (63 bits), from the problem's text: its answers do not depend on the rest of the file.

    Consecutive seeds would share noise, since vLLM's n answers to a request use its seed, seed + 1, ...
    """
    asked = "\n".join(message["content"] for message in problem.messages)
    key = f"{seed}|{problem.data_source}|{problem.twin}|{sample}|{asked}"
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def generate(
    settings: Settings, problems: list[Problem], weights: Weights, device: str, gpu_memory: float = 0.9
) -> Iterator[list[dict[str, Any]]]:
    """The answers to each chunk of problems: {problem, sample, input, output, tokens, truncated}.

    Args:
        gpu_memory: share of a GPU's memory for weights and cache, which other processes must leave free.
    """
    # As in runs (recipes/verl_plugin/environment.py): FlashInfer would compile its sampler as the engine starts, and
    # CUDA count the cards in another order than nvidia-smi.
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if device == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from transformers import AutoTokenizer
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    tokenizer = AutoTokenizer.from_pretrained(weights.path)
    template = chat_template(STYLES[settings.prompt_style], tokenizer)
    texts = [
        tokenizer.apply_chat_template(
            problem.messages, chat_template=template, add_generation_prompt=True, tokenize=False
        )
        for problem in problems
    ]
    inputs = [
        {"prompt_token_ids": encode_question(tokenizer, problem.messages, chat_template=template)}
        for problem in problems
    ]
    # Training skips longer prompts; an evaluation may not choose its problems.
    longest = max([settings.max_prompt_length, *(len(each["prompt_token_ids"]) for each in inputs)])
    context = longest + settings.max_response_length
    # With chunked prefill vLLM rewinds the request's random generator, which is only possible on a GPU.
    whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(8192, context)} if device == "cpu" else {}
    adapter = {"enable_lora": True, "max_lora_rank": weights.engine_rank} if weights.adapter else {}
    engine = LLM(
        model=weights.path,
        dtype=settings.dtype,
        enforce_eager=device == "cpu",
        max_model_len=context,
        seed=settings.seed,
        gpu_memory_utilization=gpu_memory,
        **whole,
        **adapter,
    )
    request = LoRARequest("adapter", 1, weights.adapter) if weights.adapter else None
    samples = [*range(settings.n_samples), *([GREEDY] if settings.greedy_beside else [])]
    chunk = CHUNK[device]
    for start in range(0, len(problems), chunk):
        asked = [(at, sample) for at in range(start, min(start + chunk, len(problems))) for sample in samples]
        sampling = [
            SamplingParams(
                temperature=0.0 if sample == GREEDY else settings.temperature,
                top_p=1.0 if sample == GREEDY else settings.top_p,
                max_tokens=settings.max_response_length,
                # The engine's own text lacks all special tokens.
                detokenize=False,
                # One per answer, so that it does not depend on the other answers of the batch.
                seed=None
                if settings.temperature == 0 or sample == GREEDY
                else sample_seed(settings.seed, problems[at], sample),
            )
            for at, sample in asked
        ]
        found = engine.generate([inputs[at] for at, _ in asked], sampling, use_tqdm=False, lora_request=request)
        yield [
            {
                "problem": problems[at].number,
                "sample": sample,
                "input": texts[at],
                "output": decode_response(tokenizer, answer.outputs[0].token_ids),
                "tokens": len(answer.outputs[0].token_ids),
                "truncated": answer.outputs[0].finish_reason == "length",
            }
            for (at, sample), answer in zip(asked, found, strict=True)
        ]
