"""Estimates of memory and time, held against sums done by hand and figures that are published or measured."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.estimates import CASES, Case, estimated
from recipes.common.errors import ExperimentError
from recipes.estimate import describe, kernels, machine_needs
from recipes.estimate.describe import describe_memory
from recipes.estimate.kernels import has_flash_attention, has_fused_head, micro_batch_limit
from recipes.estimate.machine_needs import (
    checkpoint_bytes,
    describe_disk,
    disk_bytes,
    few_cores,
    held_bytes,
    refuse_too_large,
    small_cards,
)
from recipes.estimate.memory import GB, estimate_memory, micro_batch_tokens
from recipes.estimate.model_shapes import SHAPES, known_shape, shape_of_config
from recipes.estimate.step_time import estimate_time
from recipes.flags.resolve import build_experiment
from recipes.run import place
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named
from tests import ROOT

PAIRS: dict[str, Any] = {"algo": "dpo", "data": "countdown_preference"}


def on(profile: str, **flags: object) -> Experiment:
    return build_experiment(dict(flags), profile_named(profile))


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with flash-attention."""
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: True)


def test_other_models_are_said_to_be_unknown() -> None:
    assert known_shape("owner/new-model-9B") is None
    assert "unknown" in describe_memory(on("h100x2", model="owner/new-model-9B"))


def test_what_is_trained_takes_sixteen_bytes_a_parameter_over_the_devices(packed: None) -> None:
    e = on("h100x2", model="Qwen/Qwen2.5-1.5B")
    found = estimate_memory(e, SHAPES["Qwen2.5-1.5B"])
    assert found.weights + found.gradients + found.optimiser == pytest.approx(16 * 1_543_714_304 / 2)
    # 32,768 tokens x (28 layers x 1536 x 2 bytes + one layer's), head in pieces of 512 rows.
    layer = 2 * (2 * 1536 + 2 * 256 + 4 * 1536 + 4 * 8960 + 3 * 8960) + 8 * 1536
    assert found.activations == pytest.approx(32768 * (28 * 1536 * 2 + layer))
    assert found.head == pytest.approx(512 * 151936 * 4 * 5 + 2 * 151936 * 1536 * 2)


def test_adapters_need_gradients_and_moments_of_their_own_only(packed: None) -> None:
    e, shape = on("1x24gb"), SHAPES["Qwen2.5-1.5B"]
    # q and o: 1536 -> 1536; k and v: 1536 -> 256; gate, up, down: 1536 <-> 8960; each (in + out) x 32, 28 layers.
    adapters = 28 * 32 * (2 * (1536 + 1536) + 2 * (1536 + 256) + 3 * (1536 + 8960))
    found = estimate_memory(e, shape)
    assert found.gradients + found.optimiser == 12 * adapters
    assert found.weights == 4 * (shape.parameters + adapters)


def test_the_cache_holds_what_the_engine_has_beside_its_weights(packed: None) -> None:
    found = estimate_memory(on("1x80gb"), SHAPES["Qwen2.5-1.5B"])
    a_token = 2 * 28 * 2 * 128 * 2
    assert found.kv_tokens == int((40e9 - 2 * 1_543_714_304 - 1.5e9) / a_token)


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize(
    ("profile", "model"),
    [
        ("1x24gb", "Qwen/Qwen2.5-0.5B"),
        ("1x24gb", "Qwen/Qwen2.5-1.5B"),
        ("1x80gb", "Qwen/Qwen2.5-0.5B"),
        ("1x80gb", "Qwen/Qwen2.5-1.5B"),
        ("h100x2", "Qwen/Qwen2.5-0.5B"),
        ("h100x2", "Qwen/Qwen2.5-1.5B"),
        ("h100x2", "meta-llama/Llama-3.2-1B"),
        ("h100x4", "Qwen/Qwen2.5-3B"),
        ("h100x4", "meta-llama/Llama-3.2-3B"),
        ("h100x8", "Qwen/Qwen2.5-7B"),
    ],
)
@pytest.mark.parametrize("data", ["countdown", "math"])
def test_what_a_profile_is_for_fits_it(
    profile: str, model: str, data: str, flash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: flash)
    e = on(profile, model=model, data=data)
    shape = known_shape(model)
    assert shape is not None
    found = estimate_memory(e, shape)
    assert found.peak < 0.95 * found.limit, describe_memory(e)
    # The engine has room for at least 64 sequences of full length at once.
    assert found.kv_tokens > 64 * (e.max_prompt_length + e.response_length)


def test_what_does_not_fit_is_said_with_the_flag_to_change(packed: None) -> None:
    assert "does NOT fit while updating; enough would be --lora_rank 32" in describe_memory(
        on("1x80gb", model="Qwen/Qwen2.5-7B")
    )
    assert "does NOT fit while generating: lower --rollout_memory" in describe_memory(
        on("1x80gb", model="Qwen/Qwen2.5-3B", rollout_memory=0.6)
    )
    assert "  fits" in describe_memory(on("h100x2"))


@pytest.mark.usefixtures("packed")
def test_a_micro_batch_is_no_larger_than_a_devices_share_of_an_update() -> None:
    e = on("h100x8", batch_size=8, mini_batch_size=8, n_rollout=2)
    assert micro_batch_tokens(e) == 2 * (256 + 256 + 1024)
    assert micro_batch_tokens(on("h100x8")) == 16384


def test_halving_the_micro_batch_halves_its_activations(packed: None) -> None:
    e, shape = on("1x80gb"), SHAPES["Qwen2.5-1.5B"]
    whole = estimate_memory(e, shape)
    half = estimate_memory(replace(e, tokens_per_micro_batch=e.tokens_per_micro_batch // 2), shape)
    assert half.activations == whole.activations / 2
    assert half.weights == whole.weights


def test_logits_are_kept_only_for_heads_that_are_more_than_a_product(tmp_path: Path, packed: None) -> None:
    e = on("1x80gb")
    assert has_fused_head(e)
    assert has_fused_head(on("1x80gb", model="meta-llama/Llama-3.2-1B"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma2"}))
    capped = replace(e, model=str(tmp_path))
    assert not has_fused_head(capped)
    shape = SHAPES["Qwen2.5-1.5B"]
    assert estimate_memory(capped, shape).head == pytest.approx(6 * 32768 * 151936)
    assert not has_fused_head(on("cpu"))


def in_the_cache(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, **config: object) -> None:
    """A config.json in the hub's local cache, as a start leaves it there."""
    import huggingface_hub

    file = folder / "config.json"
    file.write_text(json.dumps(config))
    found = {(name, "config.json"): str(file)}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *asked: found.get(asked))


OF_8B = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


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


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("profile", ["1x24gb", "1x80gb"])
def test_where_logits_are_kept_they_take_a_fifth_of_the_device_at_most(
    profile: str, flash: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: flash)
    in_the_cache(monkeypatch, tmp_path, "owner/capped", model_type="granite", **OF_8B)
    e, shape = on(profile, model="owner/capped"), SHAPES["Llama-3.1-8B"]
    found = estimate_memory(e, shape)
    assert 1536 <= micro_batch_limit(e) < 32768
    assert found.head <= max(0.2 * found.limit, 1536 * kernels.logit_bytes(e, shape.vocabulary))


def test_without_flash_attention_a_mask_keeps_packed_sequences_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory and work grow with the square of the tokens, so that there are fewer; nothing is padded."""
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


def test_a_cpu_has_neither_kernel() -> None:
    assert not has_flash_attention(on("cpu"))


@pytest.mark.parametrize(
    ("model", "flags", "each", "whole"),
    [
        # 16 bytes per parameter, twice and once more while one is written, and hf/best.
        ("Qwen/Qwen2.5-1.5B", {}, 16, 52),
        ("Qwen/Qwen2.5-7B", {"keep_checkpoints": 1}, 16, 36),
        ("Qwen/Qwen2.5-7B", {"hf_dtype": "bfloat16"}, 14, 44),
        ("Qwen/Qwen2.5-1.5B", {"algo": "sft_rft"}, 16, 104),
    ],
)
def test_checkpoints_take_what_is_in_them(model: str, flags: dict[str, object], each: int, whole: int) -> None:
    e, shape = on("1x80gb", model=model, **flags), known_shape(model)
    assert shape is not None
    assert checkpoint_bytes(e) == each * shape.parameters
    assert disk_bytes(e) == whole * shape.parameters
    assert f"up to {disk_bytes(e) / GB:.0f} GB" in str(describe_disk(e))


@pytest.mark.parametrize(
    ("cores", "gpus", "n_gpu", "said"),
    [(4, 1, 1, True), (7, 1, 1, False), (27, 8, 8, True), (28, 8, 8, False), (4, 0, 1, False)],
)
def test_a_machine_with_few_cores_is_told(
    cores: int, gpus: int, n_gpu: int, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three for each GPU and four more; of a machine that a dry run is not made on, nothing is known."""
    monkeypatch.setattr(machine_needs, "cores", lambda: cores)
    monkeypatch.setattr(machine_needs, "gpu_count", lambda: gpus)
    found = few_cores(on("h100x8", n_gpu=n_gpu))
    assert (found is not None) is said
    assert found is None or found.startswith(f"{cores} cores for {n_gpu} GPU(s)")
    assert few_cores(on("cpu")) is None


@pytest.mark.parametrize(
    ("profile", "gpus", "memory_gb", "said"),
    [
        ("h100x8", 8, 42.9, "the smallest GPU here has 43 GB, and --profile h100x8 is for 80 GB"),
        ("1x24gb", 2, 12.9, "the smallest GPU here has 13 GB, and --profile 1x24gb is for 24 GB"),
        ("1x24gb", 1, 12.9, "the smallest GPU here has 13 GB, and --profile 1x24gb is for 24 GB"),
        ("1x48gb", 1, 47.8, None),
        ("1x24gb", 1, 25.8, None),
        ("1x24gb", 1, None, None),
        # Not the machine that this run is for.
        ("h100x8", 1, 12.9, None),
        ("cpu", 1, 12.9, None),
    ],
)
def test_cards_with_less_memory_than_the_profiles_are_told(
    profile: str, gpus: int, memory_gb: float | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_needs, "gpu_count", lambda: gpus)
    monkeypatch.setattr(machine_needs, "gpu_memory_gb", lambda: memory_gb)
    found = small_cards(on(profile))
    assert found is None if said is None else str(found).startswith(said)
    hide = "hide that card (CUDA_VISIBLE_DEVICES), or " if gpus > 1 else ""
    fix = f"even if the figures below say so; {hide}lower --tokens_per_micro_batch or --rollout_memory"
    assert found is None or found.endswith(fix)


def test_what_no_card_here_can_hold_is_refused_whatever_the_profile_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_needs, "gpu_count", lambda: 1)
    monkeypatch.setattr(machine_needs, "gpu_memory_gb", lambda: 4.3)
    with pytest.raises(ExperimentError, match=r"7 GB.*the smallest GPU here has 4 GB"):
        refuse_too_large(on("1x24gb"))
    # Of another machine nothing is known from here.
    refuse_too_large(on("h100x2"))


def test_adapters_leave_the_moments_of_their_own(packed: None) -> None:
    e, shape = on("1x24gb"), SHAPES["Qwen2.5-1.5B"]
    assert checkpoint_bytes(e) == 8 * shape.parameters + 12 * shape.lora_parameters(32)
    assert describe_disk(on("cpu", model=str(ROOT / "models/tiny-countdown"))) is None
    assert disk_bytes(on("1x80gb", model="owner/new-model-9B")) == 0


@pytest.mark.parametrize(("rank", "profile"), [(0, "h100x8"), (32, "1x80gb")])
def test_a_training_on_answers_says_what_it_takes_of_the_disk(rank: int, profile: str) -> None:
    """TRL's checkpoints hold what is trained and its moments; hf/last is whole, as it is computed with."""
    e, shape = on(profile, **PAIRS, model="Qwen/Qwen2.5-7B", lora_rank=rank), SHAPES["Qwen2.5-7B"]
    each = 12 * (shape.lora_parameters(rank) if rank else shape.parameters)
    assert checkpoint_bytes(e) == each
    assert disk_bytes(e) == 3 * each + 2 * shape.parameters
    assert f"up to {disk_bytes(e) / GB:.0f} GB" in str(describe_disk(e))
    assert str(describe_disk(e)).endswith("and hf/last")
    assert " 0 GB" not in str(describe_disk(e))
    assert "checkpoints of 443 MB" in str(describe_disk(on("1x24gb", **PAIRS)))


def test_a_disk_that_checkpoints_will_not_fit_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = on("1x80gb", model="Qwen/Qwen2.5-7B")
    monkeypatch.setattr(place.shutil, "disk_usage", lambda _: SimpleNamespace(free=int(300 * GB)))
    with pytest.raises(
        ExperimentError,
        match=r"300 GB are free there.*up to 396 GB \(122 GB each.*disk; with --keep_checkpoints 1 they take 274 GB$",
    ):
        place.refuse_small_disk(e, tmp_path)
    pairs = on("h100x8", **PAIRS, model="Qwen/Qwen2.5-7B", keep_checkpoints=3)
    with pytest.raises(ExperimentError, match=r"up to 381 GB .*; with --keep_checkpoints 2 they take 289 GB$"):
        place.refuse_small_disk(pairs, tmp_path)
    # What an interrupted run left makes room for what replaces it.
    with (tmp_path / "old").open("wb") as file:
        file.truncate(int(97 * GB))
    place.refuse_small_disk(e, tmp_path)


def test_time_follows_the_work(packed: None) -> None:
    shape = SHAPES["Qwen2.5-1.5B"]
    one, two = estimate_time(on("1x80gb"), shape), estimate_time(on("h100x2"), shape)
    assert two.update == pytest.approx(one.update / 2)
    # 1024 rollouts of 768 tokens, 8 N operations each at 4e14 a second.
    assert one.update == pytest.approx(1024 * 768 * 8 * 1_543_714_304 / 4e14)
    longer = estimate_time(on("1x80gb"), shape, tokens_per_rollout=1536)
    assert longer.generate > one.generate


def test_the_cpu_estimate_is_near_what_was_measured() -> None:
    """docs/performance.md: uft on two quiet cores took 5.4 s a step of 128 rollouts of about 40 tokens."""
    e = on("cpu", model=str(ROOT / "models/tiny-countdown"))
    shape = known_shape(e.model)
    assert shape is not None
    assert estimate_time(e, shape, tokens_per_rollout=40).total == pytest.approx(5.4, rel=0.5)


MEASURED = {row["command"]: row for row in json.loads((ROOT / "results/estimates_cpu/measured.json").read_text())}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.model}")
def test_memory_on_the_cpu_is_estimated_within_a_quarter_of_what_a_run_took(case: Case) -> None:
    """`python -m bench.estimates` measured them: all processes together, twice a second."""
    assert estimated(case) == pytest.approx(MEASURED[case.command]["peak"], rel=0.25)


def test_a_critic_a_reference_and_quantised_weights_are_counted() -> None:
    shape = SHAPES["Qwen2.5-1.5B"]
    n, matrix = shape.parameters, shape.embedding
    plain, with_critic = (estimate_memory(on("1x80gb", algo=algo), shape) for algo in ("rft", "ppo"))
    assert (plain.critic, with_critic.critic) == (0, 16 * n)
    assert with_critic.peak > plain.peak
    answers = {"data": "countdown_preference", "micro_batch_size": 2, "max_length": 512}
    dpo, sft = (estimate_memory(on("1x80gb", algo=algo, **answers), shape) for algo in ("dpo", "sft"))
    assert (dpo.reference, sft.reference) == (4 * n, 0)
    assert estimate_memory(on("1x80gb", algo="dpo", precompute_ref=True, **answers), shape).reference == 0
    pairs, rows = (on("1x80gb", algo=algo, **answers) for algo in ("dpo", "kto"))
    assert (micro_batch_tokens(pairs), micro_batch_tokens(rows)) == (2048, 1024)
    adapters = on("1x80gb", algo="dpo", lora_rank=8, load_in_4bit=True, **answers)
    found, trained = estimate_memory(adapters, shape), shape.lora_parameters(8)
    assert found.weights == pytest.approx(4 * trained + 2 * matrix + 0.53 * (n - matrix))
    assert (found.reference, found.gradients) == (0, 4 * trained)


def test_what_is_held_at_the_least() -> None:
    n = SHAPES["Qwen2.5-7B"].parameters
    assert held_bytes(on("1x80gb", model="Qwen/Qwen2.5-7B")) == 16 * n
    assert held_bytes(on("h100x8", model="Qwen/Qwen2.5-7B")) == 2 * n
    # On the CPU the engine has weights of its own, which do not sleep.
    assert held_bytes(on("cpu", model="Qwen/Qwen2.5-7B")) == 20 * n
    assert held_bytes(on("cpu", model="Qwen/Qwen2.5-7B", algo="sft")) == 16 * n
    adapters = SHAPES["Qwen2.5-7B"].lora_parameters(32)
    assert held_bytes(on("1x80gb", model="Qwen/Qwen2.5-7B", lora_rank=32)) == 4 * n + 16 * adapters
    quantised = {"algo": "dpo", "data": "ultrafeedback", "load_in_4bit": True, "lora_rank": 32}
    assert held_bytes(on("1x24gb", model="Qwen/Qwen2.5-7B", **quantised)) == n / 2 + 16 * adapters


def test_a_model_that_cannot_fit_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match=r"take 122 GB.*a device of --profile 1x80gb has 80 GB.*--lora_rank 32"):
        refuse_too_large(on("1x80gb", model="Qwen/Qwen2.5-7B"))
    monkeypatch.setattr(machine_needs, "main_memory", lambda: 25e9)
    with pytest.raises(ExperimentError, match=r"take 31 GB.*this machine has 25 GB"):
        refuse_too_large(on("cpu", model="Qwen/Qwen2.5-1.5B"))
    for e in (
        on("cpu", model="Qwen/Qwen2.5-1.5B", lora_rank=32),
        on("cpu", model="Qwen/Qwen2.5-0.5B"),
        on("cpu"),
        on("1x80gb", model="Qwen/Qwen2.5-7B", lora_rank=32),
        on("h100x8", model="Qwen/Qwen2.5-7B"),
        on("1x80gb", model="owner/unknown"),
    ):
        refuse_too_large(e)


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
def test_a_shape_that_is_none_is_not_known(
    odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_the_cache(monkeypatch, tmp_path, "owner/odd", model_type="llama", **{**OF_8B, **odd})
    assert "unknown: the shape of this model" in describe_memory(on("1x80gb", model="owner/odd"))


def test_what_a_configuration_leaves_open_is_as_transformers_takes_it() -> None:
    open_ = {**OF_8B, "num_key_value_heads": None, "head_dim": None}
    assert shape_of_config(open_) == shape_of_config({**OF_8B, "num_key_value_heads": 32, "head_dim": 128})


def test_the_decoder_of_a_model_that_also_sees_is_read() -> None:
    nested = {"model_type": "gemma3", "text_config": {**OF_8B, "head_dim": 128}}
    assert shape_of_config(nested) == shape_of_config({**OF_8B, "head_dim": 128})


@pytest.mark.parametrize(
    ("model", "flags", "said"),
    [
        ("7B", {"algo": "rft"}, "enough would be --lora_rank 32"),
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
def test_what_does_not_fit_is_told_what_would_be_enough(model: str, flags: dict[str, Any], said: str) -> None:
    e = on("1x80gb", **{"lora_rank": 0, **flags}, model=f"Qwen/Qwen2.5-{model}")
    line = next(line for line in describe_memory(e).splitlines() if "does NOT fit while updating" in line)
    assert line.endswith(said)


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("profile", ["cpu", "1x24gb", "2x24gb", "4x24gb", "8x24gb", "1x40gb", "1x80gb", "h100x8"])
@pytest.mark.parametrize("algo", ["sft", "dpo", "kto", "una", "una_sft"])
def test_trainings_on_answers_fit_a_profile_by_default(
    algo: str, profile: str, flash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: flash)
    for n_gpu in (profile_named(profile).n_gpu, 3):
        e = on(profile, **{**PAIRS, "algo": algo}, n_gpu=n_gpu)
        assert "NOT" not in describe_memory(e)
        a = e.alignment
        assert a.batch_size % (a.micro_batch_size * n_gpu) == 0
        assert abs(a.batch_size - (32 if profile == "cpu" else 16)) < n_gpu


def test_rows_of_a_micro_batch_are_fewer_only_where_they_would_not_fit() -> None:
    large, small = on("1x80gb", **PAIRS), on("1x24gb", **PAIRS)
    assert (large.alignment.micro_batch_size, small.alignment.micro_batch_size) == (2, 1)
    assert large.alignment.batch_size == small.alignment.batch_size == 16
    assert on("1x24gb", **PAIRS, micro_batch_size=4).alignment.micro_batch_size == 4
    # All weights of a model that was named are trained, whether they fit or not.
    assert [on("4x24gb", **PAIRS, **flags).lora_rank for flags in ({}, {"lora_rank": 0})] == [32, 0]
    assert on("4x24gb", **PAIRS, model="Qwen/Qwen2.5-1.5B").lora_rank == 0


def test_an_engine_without_room_for_a_token_is_refused_and_with_little_told() -> None:
    """vLLM ends a minute after the start where its part of a device holds nothing beside the weights."""
    with pytest.raises(ExperimentError, match=r"--rollout_memory 0.45: the engine's share .* no token.*--tp_size"):
        refuse_too_large(on("4x24gb", model="Qwen/Qwen2.5-7B", lora_rank=32))
    refuse_too_large(on("4x24gb", model="Qwen/Qwen2.5-7B", lora_rank=32, tp_size=4))
    with pytest.raises(ExperimentError, match=r"holds the weights of .* and 438 tokens, and a sequence may have 1,536"):
        refuse_too_large(on("1x80gb", rollout_memory=0.0575))
    little = on("1x80gb", rollout_memory=0.0577)
    refuse_too_large(little)
    tokens = estimate_memory(little, SHAPES["Qwen2.5-1.5B"]).kv_tokens
    assert 0 < tokens < little.prompt_length + little.response_length
    assert "does NOT fit: a sequence may have" in describe_memory(little)
    seconds = [
        estimate_time(on("1x80gb", rollout_memory=part), SHAPES["Qwen2.5-1.5B"]).generate for part in (0.05, 0.5)
    ]
    assert seconds[0] > 10 * seconds[1]


def test_trl_shards_no_adapters_and_keeps_logits() -> None:
    one, four = (on(name, **PAIRS, model="Qwen/Qwen2.5-7B", lora_rank=32) for name in ("1x24gb", "4x24gb"))
    shape = SHAPES["Qwen2.5-7B"]
    assert estimate_memory(one, shape).weights == estimate_memory(four, shape).weights > 15e9
    assert held_bytes(one) == held_bytes(four)
    logits = estimate_memory(on("1x80gb", **PAIRS), SHAPES["Qwen2.5-1.5B"]).head
    assert logits >= micro_batch_tokens(on("1x80gb", **PAIRS)) * 151_936 * 2 * 3
    assert "packed" not in describe_memory(four)


def test_on_the_cpu_the_memory_of_the_machine_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "main_memory", lambda: 25e9)
    assert "of           25.0  fits" in describe_memory(on("cpu"))
    large = describe_memory(on("cpu", model="Qwen/Qwen2.5-0.5B"))
    at_worst = "does NOT fit where sequences are as long as allowed; enough would be"
    assert at_worst in large
    assert "days" in large


def test_a_critic_fits_beside_the_policy_by_default() -> None:
    cards = ("1x24gb", "2x24gb", "3x24gb", "4x24gb", "1x40gb", "2x40gb", "1x48gb", "2x48gb", "1x80gb", "h100x8")
    for name in cards:
        assert "NOT" not in describe_memory(on(name, algo="ppo")), name
    assert "NOT" not in describe_memory(on("h100x8", algo="ppo", n_gpu=4))
    assert on("1x80gb", algo="ppo").rollout_memory == pytest.approx(0.5 * on("1x80gb").rollout_memory)
    assert on("1x80gb", algo="ppo", rollout_memory=0.5).rollout_memory == 0.5


def test_a_critic_counts_in_what_is_refused_and_may_have_adapters() -> None:
    shape = SHAPES["Qwen2.5-1.5B"]
    n, adapters = shape.parameters, shape.lora_parameters(32)
    assert estimate_memory(on("1x24gb", algo="ppo"), shape).critic == 4 * (n + adapters) + 12 * adapters
    # 3 B: 49 GB are held by the policy, and as much by the critic.
    refuse_too_large(on("1x80gb", model="Qwen/Qwen2.5-3B"))
    with pytest.raises(ExperimentError, match=r"does not fit.* take 99 GB"):
        refuse_too_large(on("1x80gb", algo="ppo", model="Qwen/Qwen2.5-3B"))


def test_what_is_too_large_for_an_update_is_not_blamed_on_the_engine() -> None:
    said = describe_memory(on("1x80gb", algo="ppo", model="Qwen/Qwen2.5-3B"))
    assert "does NOT fit while updating" in said
    assert "while generating" not in said


def test_advice_on_the_engine_names_a_share_that_fits_or_none() -> None:
    e = on("1x80gb", model="Qwen/Qwen2.5-3B")
    share = float(describe_memory(e).partition("while generating: lower --rollout_memory to ")[2].partition(",")[0])
    assert "NOT" not in describe_memory(replace(e, rollout_memory=share))
    # 6.2 GB of weights, and 5.8 are left for the engine: no share holds a sequence.
    assert "while generating: use a smaller model, or use more" in describe_memory(
        on("1x24gb", model="Qwen/Qwen2.5-3B")
    )


def test_a_supervised_stage_has_the_first_nodes_devices_alone() -> None:
    """Four nodes of two: 7 B is 122 GB, in halves; its reinforcement has eighths."""
    e = on("h100x2", algo="sft_rft", nnodes=4, model="Qwen/Qwen2.5-7B")
    alone = on("h100x2", algo="sft", model="Qwen/Qwen2.5-7B")
    assert held_bytes(e) == held_bytes(alone)
    expected = estimate_memory(alone, SHAPES["Qwen2.5-7B"]).updating / GB
    assert f"supervised {expected:6.1f}  on the first node's 2 device(s) alone: " in describe_memory(e)
    with pytest.raises(ExperimentError, match=r"of the supervised stage, on the first.*122 GB.*has 80 GB.*--n_gpu"):
        refuse_too_large(on("1x80gb", algo="sft_rft", nnodes=8, model="Qwen/Qwen2.5-7B"))
    assert "supervised" not in describe_memory(on("h100x2", algo="sft_rft"))


def test_trainings_on_answers_keep_their_logits_with_flash_attention_too(packed: None) -> None:
    """TRL takes SDPA and log-probabilities of float32 logits: about 20 bytes a logit were measured."""
    e, shape = on("1x24gb", **PAIRS), SHAPES["Qwen2.5-1.5B"]
    assert not has_flash_attention(e)
    assert estimate_memory(e, shape).head > 20 * micro_batch_tokens(e) * shape.vocabulary
    assert e.alignment.micro_batch_size == 1
