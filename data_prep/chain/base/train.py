"""Pre-training of a chain base, about two minutes on one core: first correct steps, which show the rule, then others.
That is enough thanks to steps that are single tokens, numbers embedded as waves, short problems first, and Muon."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from data_prep.chain.base.texts import TextSettings, batch
from data_prep.chain.base.tokenizer import DEEPEST, ENTRY, INPUT, STATES, STEP, stepped
from data_prep.tiny_base.train import Shape, fit, llama

# Periods of the waves in a step number's initial embedding: n -> n + 1, from one step to the next, is a rotation. Found
# by random search so that no two numbers look alike: the cosine between any two is at most .14.
PERIODS = (2.26, 2.4, 2.54, 3.46, 3.82, 4.25, 12.2, 18.57)


@dataclass(frozen=True)
class TrainSettings(Shape):
    """right_share: the first part of training, with only correct solutions. growing_share: the first part, in which
    problems grow to their full depth."""

    steps: int = 1400
    batch_size: int = 32
    hidden_size: int = 64
    intermediate_size: int = 192
    layers: int = 2
    right_share: float = 0.6
    second_rate: float = 0.2
    growing_share: float = 0.35
    # Attention is by step number, not by distance: a rotary base that rotates few dimensions.
    rope_theta: float = 1e6
    initializer_range: float = 0.12
    sharpness: float = 2.0


def build_model(tokenizer: PreTrainedTokenizerFast, settings: TrainSettings) -> LlamaForCausalLM:
    """An untrained model, see `llama`, with embeddings and first-layer attention that know about numbers."""
    model = llama(
        tokenizer,
        settings,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_theta},
        initializer_range=settings.initializer_range,
    )
    _embed_by_parts(model, tokenizer, settings.initializer_range)
    _look_for_the_next_number(model, settings)
    return model


@torch.no_grad()
def _embed_by_parts(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, scale: float) -> None:
    """Initial embeddings of steps, inputs and entries: their number (waves), their state and their kind."""
    weight = model.model.embed_tokens.weight
    angles = 2 * math.pi * torch.arange(DEEPEST + 1)[:, None] / torch.tensor(PERIODS)
    numbers = 1.4 * scale * torch.cat([angles.cos(), angles.sin()], dim=1)
    states = scale * torch.randn(STATES, 16)
    for form in (STEP, INPUT, ENTRY):
        kind = scale * torch.randn(weight.shape[1] - numbers.shape[1] - states.shape[1])
        for place, text in enumerate(stepped(form)):
            number, state = divmod(place, STATES)
            (token,) = tokenizer.encode(text)
            weight[token] = torch.cat([numbers[number], states[state], kind])


@torch.no_grad()
def _look_for_the_next_number(model: LlamaForCausalLM, settings: TrainSettings) -> None:
    """The first layer's heads initially attend to tokens with the next number; which of them is learned.

    Without this most of the training would be spent on learning to look up a step by its number.
    """
    turn = torch.block_diag(*[_rotation(2 * math.pi / period) for period in PERIODS])
    # Waves are stored as all cosines, then all sines; a head's slowly turning pairs are the last of each half.
    half = settings.head_dim // 2
    order = torch.arange(2 * len(PERIODS)).view(2, -1).T.flatten()
    places = torch.cat([torch.arange(half - len(PERIODS), half), torch.arange(2 * half - len(PERIODS), 2 * half)])
    attention = model.model.layers[0].self_attn
    for head in range(settings.hidden_size // settings.head_dim):
        for weight, how in ((attention.q_proj.weight, turn), (attention.k_proj.weight, torch.eye(len(order)))):
            rows = weight[head * settings.head_dim + places[order]]
            rows.zero_()
            rows[:, order] = settings.sharpness * how
            weight[head * settings.head_dim + places[order]] = rows


def _rotation(angle: float) -> Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainSettings,
    texts: TextSettings,
    seed: int,
) -> None:
    """Trains `model` in place."""
    batches = _batches(tokenizer, settings, texts, random.Random(f"chain base {seed}"))
    fit(model, settings, Muon32, lambda step: _scale(step, settings), batches)


def _batches(
    tokenizer: PreTrainedTokenizerFast, settings: TrainSettings, texts: TextSettings, rng: random.Random
) -> Iterator[tuple[Tensor, int]]:
    for step in range(settings.steps):
        now = replace(texts, q=1.0) if step < settings.right_share * settings.steps else texts
        deepest = texts.depths[0] + 2 + round(texts.depths[1] * step / max(1, settings.growing_share * settings.steps))
        yield batch(tokenizer, now, settings.batch_size, deepest, rng)


def _scale(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, constant, then decay to `second_rate` where half-correct steps begin (at the full rate they would
    make it unlearn the rule), then decay to nearly zero."""
    share, begins, second = step / settings.steps, settings.right_share, settings.second_rate
    warm = min(1.0, (step + 1) / settings.warmup_steps)
    if share >= begins:
        return warm * second * max(0.01, (1 - share) / (1 - begins))
    return warm * max(second, min(1.0, 1 - (1 - second) * (share / begins - 0.5) / 0.5))


class Muon32(torch.optim.Optimizer):
    """Muon in float32. torch's own rounds to bfloat16, which takes 30 times as long on a CPU without such instructions
    (88 ms per step on these matrices, compared with 50 for forward and backward pass)."""

    def __init__(self, matrices: Sequence[Tensor], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Momentum (Nesterov's), its polar factor by five Newton-Schulz steps, decoupled weight decay."""
        for group in self.param_groups:
            for weight in group["params"]:
                kept = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                kept.lerp_(weight.grad, 1 - group["momentum"])
                turned = _polar(weight.grad.lerp(kept, group["momentum"]))
                rate = group["lr"] * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(turned, alpha=-rate)


def _polar(matrix: Tensor) -> Tensor:
    """Nearly U V^T of a matrix U S V^T (Jordan et al., 2024: singular values end between .7 and 1.2)."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T) / (matrix.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.T
