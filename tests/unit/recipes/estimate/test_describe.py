"""What --dry_run says of a run's memory, and its advice where it does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipes.estimate import describe
from recipes.estimate.describe import describe_memory
from recipes.estimate.model_shapes import known_shape
from tests.helpers.estimates import OF_8B, PAIRS, in_the_cache, on


def test_a_model_without_a_known_shape_is_said_to_be_unknown() -> None:
    assert known_shape("owner/new-model-9B") is None
    assert "unknown" in describe_memory(on("h100x2", model="owner/new-model-9B"))


def test_what_fits_is_said(packed: None) -> None:
    assert "  fits" in describe_memory(on("h100x2"))


@pytest.mark.parametrize(
    "odd",
    [
        {"num_attention_heads": 0},
        {"num_hidden_layers": "24"},
        {"hidden_size": -5},
        {"hidden_size": float("inf")},
        {"intermediate_size": [16384, 8192]},
        {"vocab_size": None},
        {"num_local_experts": "8", "num_experts_per_tok": 2},
    ],
)
def test_a_config_with_odd_sizes_is_no_known_shape(
    odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_the_cache(monkeypatch, tmp_path, "owner/odd", model_type="llama", **{**OF_8B, **odd})
    assert "unknown: the shape of this model" in describe_memory(on("1x80gb", model="owner/odd"))


@pytest.mark.parametrize(
    ("model", "flags", "said"),
    [
        ("7B", {}, "enough would be --lora_rank 32"),
        ("1.5B", {**PAIRS, "micro_batch_size": 16}, "enough would be --micro_batch_size 2"),
        ("7B", {**PAIRS, "micro_batch_size": 16, "lora_rank": 8}, "enough would be --micro_batch_size 2"),
        (
            "7B",
            {**PAIRS, "micro_batch_size": 4, "lora_rank": 8},
            "enough would be --micro_batch_size 2 or --load_in_4bit",
        ),
        ("7B", {**PAIRS, "micro_batch_size": 16}, "enough would be --lora_rank 32 --micro_batch_size 2"),
        ("7B", {**PAIRS, "micro_batch_size": 16, "max_length": 32768}, "take a smaller model or more devices"),
    ],
)
def test_what_does_not_fit_comes_with_what_would_be_enough(model: str, flags: dict[str, Any], said: str) -> None:
    e = on("1x80gb", **{"lora_rank": 0, **flags}, model=f"Qwen/Qwen2.5-{model}")
    line = next(line for line in describe_memory(e).splitlines() if "does NOT fit while updating" in line)
    assert line.endswith(said)


def test_on_the_cpu_the_memory_of_the_machine_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "main_memory", lambda: 25e9)
    assert "of           25.0  fits" in describe_memory(on("cpu"))
    large = describe_memory(on("cpu", model="Qwen/Qwen2.5-0.5B"))
    assert "does NOT fit where sequences are as long as allowed; enough would be" in large
    assert "days" in large


def test_what_is_too_large_for_an_update_is_not_blamed_on_the_engine() -> None:
    said = describe_memory(on("1x80gb", algo="ppo", model="Qwen/Qwen2.5-3B"))
    assert "does NOT fit while updating" in said
    assert "while generating" not in said


@pytest.mark.parametrize("asked", [{}, {"rollout_memory": 0.6}], ids=["default", "0.6"])
def test_advice_on_the_engine_names_a_share_that_fits(asked: dict[str, float]) -> None:
    e = on("1x80gb", model="Qwen/Qwen2.5-3B", **asked)
    share = float(describe_memory(e).partition("while generating: lower --rollout_memory to ")[2].partition(",")[0])
    assert "NOT" not in describe_memory(replace(e, rollout_memory=share))


def test_where_no_share_holds_a_sequence_none_is_advised() -> None:
    """6.2 GB of weights, and 5.8 GB left for the engine."""
    assert "while generating: use a smaller model, or use more" in describe_memory(
        on("1x24gb", model="Qwen/Qwen2.5-3B")
    )
