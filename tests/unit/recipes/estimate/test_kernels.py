"""Which head and which attention a run has, and how large its micro-batches may be."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.estimate import kernels
from recipes.estimate.describe import describe_memory
from recipes.estimate.kernels import has_flash_attention, has_fused_head, micro_batch_limit
from recipes.estimate.memory import estimate_memory, micro_batch_tokens
from recipes.estimate.model_shapes import SHAPES, known_shape
from recipes.estimate.step_time import estimate_time
from tests.helpers.estimates import OF_8B, PAIRS, in_the_cache, on


def test_logits_are_kept_only_for_heads_that_are_more_than_a_product(tmp_path: Path, packed: None) -> None:
    e = on("1x80gb")
    assert has_fused_head(e)
    assert has_fused_head(on("1x80gb", model="meta-llama/Llama-3.2-1B"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma2"}))
    capped = replace(e, model=str(tmp_path))
    assert not has_fused_head(capped)
    shape = SHAPES["Qwen2.5-1.5B"]
    assert estimate_memory(capped, shape).head == pytest.approx(6 * 32768 * 151936)


def test_a_cpu_has_neither_kernel() -> None:
    assert not has_fused_head(on("cpu"))
    assert not has_flash_attention(on("cpu"))


@pytest.mark.parametrize(
    ("name", "kind", "fused"),
    [
        ("NousResearch/Hermes-3", "llama", True),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "qwen2", True),
        # A name that would be taken for a plain head.
        ("owner/Llama-3-capped", "granite", False),
    ],
)
def test_the_head_goes_by_the_models_configuration_and_not_by_its_name(
    name: str, kind: str, fused: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_the_cache(monkeypatch, tmp_path, name, model_type=kind, **OF_8B)
    assert has_fused_head(on("1x80gb", model=name)) is fused
    shape = known_shape(name)
    assert shape is not None
    assert (shape.layers, shape.vocabulary) == (32, 128256)


@pytest.mark.usefixtures("with_and_without_flash_attention")
@pytest.mark.parametrize("profile", ["1x24gb", "1x80gb"])
def test_where_logits_are_kept_they_take_a_fifth_of_the_device_at_most(
    profile: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_the_cache(monkeypatch, tmp_path, "owner/capped", model_type="granite", **OF_8B)
    e, shape = on(profile, model="owner/capped"), SHAPES["Llama-3.1-8B"]
    found = estimate_memory(e, shape)
    assert 1536 <= micro_batch_limit(e) < 32768
    assert found.head <= max(0.2 * found.limit, 1536 * kernels.logit_bytes(e, shape.vocabulary))


def test_without_flash_attention_a_mask_keeps_packed_sequences_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory and work grow with the square of the tokens, so fewer are taken; nothing is padded."""
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: False)
    e, shape = on("1x80gb"), SHAPES["Qwen2.5-1.5B"]
    assert (e.tokens_per_micro_batch, micro_batch_limit(e)) == (32768, 8192)
    layer = 2 * (2 * 1536 + 2 * 256 + 4 * 1536 + 4 * 8960 + 3 * 8960) + 8 * 1536
    mask = 3 * 8192**2
    assert estimate_memory(e, shape).activations == pytest.approx(8192 * (28 * 1536 * 2 + layer) + mask)
    masked = estimate_time(e, shape).update
    assert "packed under a mask (SDPA), in micro-batches of at most 8,192 tokens" in describe_memory(e)
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: True)
    assert masked / estimate_time(e, shape).update == pytest.approx(1.46, abs=0.01)
    assert micro_batch_limit(e) == 32768
    # The longest sequence always fits, and what is asked for is never exceeded.
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: False)
    assert micro_batch_limit(on("1x80gb", max_response_length=10000)) == 256 + 256 + 10000
    assert micro_batch_limit(on("1x80gb", tokens_per_micro_batch=2000)) == 2000


def test_flash_attention_4_is_not_flash_attention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It puts its modules into a folder of the same name, and transformers cannot use it as version 2."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "flash_attn").mkdir()
    for name, version, expected in (("flash_attn_4", "4.0.0b36", False), ("flash_attn", "2.8.3", True)):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
        assert has_flash_attention(on("1x80gb")) is expected


def test_trainings_on_answers_keep_their_logits_with_flash_attention_too(packed: None) -> None:
    """TRL takes SDPA and log-probabilities of float32 logits: about 20 bytes a logit were measured."""
    e, shape = on("1x24gb", **PAIRS), SHAPES["Qwen2.5-1.5B"]
    assert not has_flash_attention(e)
    assert estimate_memory(e, shape).head > 20 * micro_batch_tokens(e) * shape.vocabulary
    assert e.alignment.micro_batch_size == 1
