"""Pre-training of the embedded tiny base on random operation chains, on one CPU thread.
Small batches, Muon for the matrices and numbers embedded as waves are what makes minutes enough."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data_prep.countdown import Key
from data_prep.tiny_base_chains import ChainSettings, sample_chain
from data_prep.tiny_base_tokenizer import LARGEST_WHOLE_NUMBER

# Periods of the cosine and sine that a number's embedding starts from: with them n -> n + k is a rotation, so sums and
# differences are found within hundreds of steps instead of being memorised pair by pair.
NUMBER_PERIODS = (2, 3, 4, 5, 7, 10, 13, 20, 33, 50, 100, 200, 400, 1000)

DRILL_LINES = 8
IGNORED = -100


@dataclass(frozen=True)
class TrainSettings:
    """Shape of the model and of its training; `batch_size` counts rows, one problem each.

    Every `drill_every`-th batch holds nothing but arithmetic lines: a solution has only two or three of them.
    """

    steps: int = 4000
    batch_size: int = 16
    matrix_lr: float = 0.02
    vector_lr: float = 3e-3
    warmup_steps: int = 50
    drill_every: int = 3
    decay_share: float = 0.5
    weight_decay: float = 0.05
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 3
    head_dim: int = 32
    context: int = 1024


def build_model(tokenizer: PreTrainedTokenizerFast, settings: TrainSettings) -> LlamaForCausalLM:
    """An untrained model in float32, drawn from torch's global generator, vocabulary exactly the tokenizer's."""
    heads = settings.hidden_size // settings.head_dim
    # Llama and not Qwen2: transformers 5 rebuilds the tokenizer of every qwen2 checkpoint with Qwen's own splitting
    # rules, whatever tokenizer.json says. The two differ by three bias vectors a layer.
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=settings.head_dim,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
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
    """Trains `model` in place; no chain states a problem in `exclude` together with its solution."""
    batches = _batches(tokenizer, settings, chains, random.Random(f"tiny base {seed}"), exclude)
    optimizers = _optimizers(model, settings)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    started = time.monotonic()
    model.train()
    for step, (tokens, labels) in zip(range(settings.steps), batches, strict=False):
        scale = _schedule(step, settings)
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * scale
        loss = label_loss(model, tokens, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}, {time.monotonic() - started:.0f} s", flush=True)
    model.eval()


def label_loss(model: LlamaForCausalLM, tokens: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of the labelled tokens; `tokens` and `labels` have shape (rows, length)."""
    wanted = labels[:, 1:] != IGNORED
    hidden = model.model(tokens[:, :-1]).last_hidden_state[wanted]
    return nn.functional.cross_entropy(model.lm_head(hidden), labels[:, 1:][wanted])


def _batches(
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainSettings,
    chains: ChainSettings,
    rng: random.Random,
    exclude: Collection[Key],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (tokens, labels), both (rows, length); all rows of a batch have the same length."""
    sizes = itertools.cycle(chains.sizes)
    for step in itertools.count(1):
        if step % settings.drill_every == 0:
            yield _drill_batch(tokenizer, settings, chains, rng)
        else:
            yield _chain_batch(tokenizer, settings, chains, rng, exclude, next(sizes))


def _chain_batch(
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainSettings,
    chains: ChainSettings,
    rng: random.Random,
    exclude: Collection[Key],
    size: int,
) -> tuple[Tensor, Tensor]:
    """Problems of one size with a written solution each; the solution and the end token are labelled."""
    rows, labels = [], []
    while len(rows) < settings.batch_size:
        chain = sample_chain(rng, chains, size, aligned=rng.random() < chains.aligned_share)
        if chain.result == chain.target and chain.key in exclude:
            continue
        prompt = tokenizer.encode(chain.prompt)
        response = [*tokenizer.encode(chain.response), tokenizer.eos_token_id]
        rows.append([*prompt, *response])
        labels.append([IGNORED] * len(prompt) + response)
    return torch.tensor(rows), torch.tensor(labels)


def _drill_batch(
    tokenizer: PreTrainedTokenizerFast, settings: TrainSettings, chains: ChainSettings, rng: random.Random
) -> tuple[Tensor, Tensor]:
    """Arithmetic lines as the chains have them, one after the other; only the results are labelled."""
    rows = []
    for _ in range(settings.batch_size):
        lines: list[str] = []
        while len(lines) < DRILL_LINES:
            lines += sample_chain(rng, chains, rng.choice(chains.sizes), aligned=False).steps
        rows.append(tokenizer.encode("".join(lines[:DRILL_LINES])))
    tokens = torch.tensor(rows)
    # A line is: number, operator, number, equals sign, result, line end.
    is_result = torch.arange(tokens.shape[1]) % 6 == 4
    return tokens, tokens.masked_fill(~is_result, IGNORED)


def _optimizers(model: LlamaForCausalLM, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    embedding = model.model.embed_tokens.weight
    matrices = [weight for weight in model.parameters() if weight.ndim == 2 and weight is not embedding]
    others = [embedding, *(weight for weight in model.parameters() if weight.ndim == 1)]
    return [
        torch.optim.Muon(matrices, lr=settings.matrix_lr, weight_decay=settings.weight_decay),
        torch.optim.AdamW(others, lr=settings.vector_lr, betas=(0.9, 0.98), weight_decay=0.0),
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
