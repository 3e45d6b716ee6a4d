"""Pre-training of the embedded tiny base on random chains of operations, on one CPU thread.
It takes minutes thanks to small batches, Muon for the matrices, and numbers embedded as waves."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data_prep.countdown.generate import Key
from data_prep.tiny_base.chains import ChainSettings, sample_chain
from data_prep.tiny_base.tokenizer import LARGEST_WHOLE_NUMBER

# Periods of the cosines and sines that a number's embedding is initialised with: n -> n + k is then a rotation, so sums
# and differences are learned within hundreds of steps instead of being memorised pair by pair.
NUMBER_PERIODS = (2, 3, 4, 5, 7, 10, 13, 20, 33, 50, 100, 200, 400, 1000)


@dataclass(frozen=True)
class Shape:
    """A tiny model and its training; `batch_size` is in rows, one problem each."""

    steps: int
    batch_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    matrix_lr: float = 0.02
    vector_lr: float = 3e-3
    warmup_steps: int = 50
    weight_decay: float = 0.05
    head_dim: int = 32
    context: int = 4096


@dataclass(frozen=True)
class TrainSettings(Shape):
    """Those of the embedded countdown base."""

    steps: int = 2000
    batch_size: int = 16
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 3
    decay_share: float = 0.5


def llama(tokenizer: PreTrainedTokenizerFast, shape: Shape, **options: Any) -> LlamaForCausalLM:
    """An untrained float32 model with the tokenizer's vocabulary, initialised by torch's global generator.

    Args:
        options: further ones of its LlamaConfig.
    """
    heads = shape.hidden_size // shape.head_dim
    # Llama, not Qwen2: transformers 5 rebuilds the tokenizer of every qwen2 checkpoint with Qwen's own splitting rules,
    # ignoring tokenizer.json. The two differ by three bias vectors per layer.
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        **options,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def build_model(tokenizer: PreTrainedTokenizerFast, settings: TrainSettings) -> LlamaForCausalLM:
    """An untrained model, see `llama`, with its numbers embedded as waves."""
    model = llama(tokenizer, settings)
    _embed_numbers_as_waves(model, tokenizer)
    return model


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainSettings,
    chains: ChainSettings,
    seed: int,
    exclude: Collection[Key] = (),
) -> None:
    """Trains `model` in place; no chain solves a problem in `exclude`."""
    batches = _batches(tokenizer, settings, chains, random.Random(f"tiny base {seed}"), exclude)
    fit(model, settings, torch.optim.Muon, lambda step: _schedule(step, settings), batches)


def fit(
    model: LlamaForCausalLM,
    shape: Shape,
    matrix_optimizer: Callable[..., torch.optim.Optimizer],
    scale: Callable[[int], float],
    batches: Iterable[tuple[Tensor, int]],
) -> None:
    """Trains `model` in place for `shape.steps` steps.

    Args:
        matrix_optimizer: for all matrices but the embedding, which AdamW trains with the vectors.
        scale: of the learning rates, by step (from 0).
        batches: (tokens, prompt length), see `response_loss`.
    """
    optimizers = _optimizers(model, shape, matrix_optimizer)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    started = time.monotonic()
    model.train()
    for step, (tokens, prompt_length) in zip(range(shape.steps), batches, strict=False):
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * scale(step)
        loss = response_loss(model, tokens, prompt_length)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}, {time.monotonic() - started:.0f} s", flush=True)
    model.eval()


def response_loss(model: LlamaForCausalLM, tokens: Tensor, prompt_length: int) -> Tensor:
    """Mean cross-entropy (nats) of the response tokens; `tokens` (rows, length) starts with the prompts."""
    hidden = model.model(tokens[:, :-1]).last_hidden_state[:, prompt_length - 1 :]
    logits = model.lm_head(hidden)
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, prompt_length:].flatten())


def _batches(
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainSettings,
    chains: ChainSettings,
    rng: random.Random,
    exclude: Collection[Key],
) -> Iterator[tuple[Tensor, int]]:
    """Endless (tokens, prompt length); one problem size per batch, so that all its rows have the same length."""
    for size in itertools.cycle(chains.sizes):
        rows: list[list[int]] = []
        prompt_length = 0
        while len(rows) < settings.batch_size:
            chain = sample_chain(rng, chains, size, aligned=rng.random() < chains.aligned_share)
            if chain.result == chain.target and chain.key in exclude:
                continue
            prompt = tokenizer.encode(chain.prompt)
            rows.append([*prompt, *tokenizer.encode(chain.response), tokenizer.eos_token_id])
            prompt_length = len(prompt)
        yield torch.tensor(rows), prompt_length


def _optimizers(
    model: LlamaForCausalLM, shape: Shape, matrix_optimizer: Callable[..., torch.optim.Optimizer]
) -> list[torch.optim.Optimizer]:
    embedding = model.model.embed_tokens.weight
    matrices = [weight for weight in model.parameters() if weight.ndim == 2 and weight is not embedding]
    others = [embedding, *(weight for weight in model.parameters() if weight.ndim == 1)]
    return [
        matrix_optimizer(matrices, lr=shape.matrix_lr, weight_decay=shape.weight_decay),
        torch.optim.AdamW(others, lr=shape.vector_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _schedule(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, constant, then linear decay to nearly zero over the last `decay_share` of the steps."""
    left = (settings.steps - step) / (settings.decay_share * settings.steps)
    return min(1.0, (step + 1) / settings.warmup_steps, max(0.01, left))


@torch.no_grad()
def _embed_numbers_as_waves(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    numbers = range(LARGEST_WHOLE_NUMBER + 1)
    ids: Any = tokenizer.convert_tokens_to_ids([str(number) for number in numbers])
    angles = 2 * math.pi * torch.arange(len(numbers))[:, None] / torch.tensor(NUMBER_PERIODS)
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    model.model.embed_tokens.weight[ids, : waves.shape[1]] = model.config.initializer_range * waves
