"""Answers of a model by vLLM, chunk by chunk, each by its problem's own seed."""

import os
from collections.abc import Iterator
from typing import Any

from data_prep.prompt_styles import STYLES
from eval.models import Weights
from eval.problems import Problem, Settings

# Problems between two writes of items.jsonl: what a kill can cost.
CHUNK = 256


def generate(
    settings: Settings, problems: list[Problem], weights: Weights, device: str, gpu_memory: float = 0.9
) -> Iterator[list[dict[str, Any]]]:
    """The answers of each chunk of problems in turn: {problem, sample, input, output, tokens, truncated}.

    Args:
        gpu_memory: share of a GPU's memory for weights and cache; what else runs there must leave so much free.
    """
    # As in runs (recipes/verl_plugin/environment.py): FlashInfer would compile its sampler as the engine starts.
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
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
    longest = max([settings.max_prompt_length, *(len(each["prompt_token_ids"]) for each in inputs)])
    context = longest + settings.max_response_length
    # A prompt that is read in parts makes vLLM rewind the request's random generator, which only a GPU's can.
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
