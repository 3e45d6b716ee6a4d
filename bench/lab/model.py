"""A Llama of a few hundred thousand weights as plain torch functions: all tokens at once, or one more with a cache.

transformers' own model spends most of such a small step in its Python; tests/contract/test_lab.py holds this to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional

Parameters = Mapping[str, torch.Tensor]
Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Of every layer, keys and values (rows, heads, positions, head_dim)."""


@dataclass(frozen=True)
class Shape:
    """What of a config.json the functions below need."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    theta: float


def load(folder: Path) -> tuple[Shape, dict[str, torch.Tensor]]:
    """(shape, parameters) of an embedded base.

    Raises:
        ValueError: for no folder, and for another architecture than a plain Llama with tied embeddings.
    """
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder}: the lab trains models in folders, as models/tiny-* are")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    odd = [name for name in ("attention_bias", "mlp_bias") if config.get(name)]
    if config.get("model_type") != "llama" or not config.get("tie_word_embeddings") or odd:
        raise ValueError(f"{folder}: the lab trains plain Llamas with tied embeddings, as models/tiny-* are")
    shape = Shape(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        head_dim=config["head_dim"],
        epsilon=config["rms_norm_eps"],
        theta=config["rope_parameters"]["rope_theta"],
    )
    return shape, load_file(folder / "model.safetensors")


def hidden(p: Parameters, shape: Shape, ids: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
    """Last hidden states of rows that begin at position 0.

    Padding at the end of a row changes nothing before it.

    Args:
        ids: (rows, positions).
        cache: keys and values are written into it, where there is one.

    Returns:
        (rows, positions, width).
    """
    turn = _angles(shape, torch.arange(ids.shape[1]))
    x = functional.embedding(ids, p["model.embed_tokens.weight"])
    for layer in range(shape.layers):
        query, key, value = _attended(p, shape, layer, x, turn)
        if cache is not None:
            for kept, new in zip(cache[layer], (key, value), strict=True):
                kept[:, :, : ids.shape[1]] = new
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=shape.heads != shape.kv_heads
        )
        x = _after(p, shape, layer, x, mixed)
    return _norm(x, p["model.norm.weight"], shape.epsilon)


def hidden_of_one_more(p: Parameters, shape: Shape, ids: torch.Tensor, at: torch.Tensor, cache: Cache) -> torch.Tensor:
    """Last hidden state of one more token per row, whose keys and values join the cache.

    Args:
        ids: (rows,) the tokens.
        at: (rows,) their positions; the cache is right before them.

    Returns:
        (rows, width).
    """
    rows, until = torch.arange(len(ids)), int(at.max()) + 1
    turn = tuple(angle.unsqueeze(1) for angle in _angles(shape, at.unsqueeze(1)))
    seen = (torch.arange(until) <= at.unsqueeze(1))[:, None, None, :]
    x = functional.embedding(ids, p["model.embed_tokens.weight"]).unsqueeze(1)
    for layer in range(shape.layers):
        query, key, value = _attended(p, shape, layer, x, turn)
        for kept, new in zip(cache[layer], (key, value), strict=True):
            kept[rows, :, at] = new[:, :, 0]
        keys, values = (kept[:, :, :until] for kept in cache[layer])
        mixed = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=seen, enable_gqa=shape.heads != shape.kv_heads
        )
        x = _after(p, shape, layer, x, mixed)
    return _norm(x[:, 0], p["model.norm.weight"], shape.epsilon)


def logits(p: Parameters, states: torch.Tensor) -> torch.Tensor:
    """(..., vocabulary) of (..., width)."""
    return states @ p["model.embed_tokens.weight"].T


def empty_cache(shape: Shape, rows: int, positions: int) -> Cache:
    """Room for keys and values."""
    size = (rows, shape.kv_heads, positions, shape.head_dim)
    return [(torch.zeros(size), torch.zeros(size)) for _ in range(shape.layers)]


def _norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    return functional.rms_norm(x, (x.shape[-1],), weight, epsilon)


def _angles(shape: Shape, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(cos, sin), each (*positions, head_dim)."""
    half = torch.arange(0, shape.head_dim, 2) / shape.head_dim
    angle = positions.unsqueeze(-1) * shape.theta**-half
    return angle.cos().repeat(*[1] * positions.dim(), 2), angle.sin().repeat(*[1] * positions.dim(), 2)


def _turned(x: torch.Tensor, turn: tuple[torch.Tensor, ...]) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * turn[0] + torch.cat((-second, first), -1) * turn[1]


def _attended(
    p: Parameters, shape: Shape, layer: int, x: torch.Tensor, turn: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values (rows, heads, positions, head_dim)."""
    name = f"model.layers.{layer}"
    normed = _norm(x, p[f"{name}.input_layernorm.weight"], shape.epsilon)
    query, key, value = (
        functional.linear(normed, p[f"{name}.self_attn.{part}_proj.weight"])
        .unflatten(-1, (-1, shape.head_dim))
        .transpose(1, 2)
        for part in "qkv"
    )
    return _turned(query, turn), _turned(key, turn), value


def _after(p: Parameters, shape: Shape, layer: int, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    name = f"model.layers.{layer}"
    x = x + functional.linear(mixed.transpose(1, 2).flatten(2), p[f"{name}.self_attn.o_proj.weight"])
    normed = _norm(x, p[f"{name}.post_attention_layernorm.weight"], shape.epsilon)
    gate, up, down = (p[f"{name}.mlp.{part}_proj.weight"] for part in ("gate", "up", "down"))
    return x + functional.linear(functional.silu(functional.linear(normed, gate)) * functional.linear(normed, up), down)
