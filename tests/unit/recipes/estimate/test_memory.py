"""Estimates of memory and time, held against sums done by hand and against measured runs."""

import json
from dataclasses import replace

import pytest

from bench.estimates import CASES, Case, estimated
from recipes.estimate.describe import describe_memory
from recipes.estimate.machine_needs import held_bytes
from recipes.estimate.memory import estimate_memory, micro_batch_tokens
from recipes.estimate.model_shapes import SHAPES, known_shape
from recipes.estimate.step_time import estimate_time
from tests import ROOT
from tests.helpers.estimates import PAIRS, on


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


def test_a_micro_batch_is_no_larger_than_a_devices_share_of_an_update(packed: None) -> None:
    e = on("h100x8", batch_size=8, mini_batch_size=8, n_rollout=2)
    assert micro_batch_tokens(e) == 2 * (256 + 256 + 1024)
    assert micro_batch_tokens(on("h100x8")) == 16384


def test_halving_the_micro_batch_halves_its_activations(packed: None) -> None:
    e, shape = on("1x80gb"), SHAPES["Qwen2.5-1.5B"]
    whole = estimate_memory(e, shape)
    half = estimate_memory(replace(e, tokens_per_micro_batch=e.tokens_per_micro_batch // 2), shape)
    assert half.activations == whole.activations / 2
    assert half.weights == whole.weights


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


def test_trl_shards_no_adapters_and_keeps_logits() -> None:
    one, four = (on(name, **PAIRS, model="Qwen/Qwen2.5-7B", lora_rank=32) for name in ("1x24gb", "4x24gb"))
    shape = SHAPES["Qwen2.5-7B"]
    assert estimate_memory(one, shape).weights == estimate_memory(four, shape).weights > 15e9
    assert held_bytes(one) == held_bytes(four)
    logits = estimate_memory(on("1x80gb", **PAIRS), SHAPES["Qwen2.5-1.5B"]).head
    assert logits >= micro_batch_tokens(on("1x80gb", **PAIRS)) * 151_936 * 2 * 3
    assert "packed" not in describe_memory(four)


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
