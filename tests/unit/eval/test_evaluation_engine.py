"""What an evaluation asks of vLLM: the memory it was given, a rank that vLLM takes, a seed of its own for each answer;
and which weights it takes."""

import hashlib
import json
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from eval.generate import GREEDY, generate, sample_seed
from eval.models import (
    ADAPTER_CONFIG,
    ENGINE_RANKS,
    ModelError,
    Weights,
    chosen_weights,
    published_name,
    resolve_model,
    short_title,
)
from eval.problems import Problem


def adapter(folder: Path, rank: int) -> Weights:
    (folder / ADAPTER_CONFIG).write_text(json.dumps({"r": rank}))
    return Weights("base", str(folder))


@pytest.mark.parametrize(("rank", "asked"), [(1, 8), (8, 8), (9, 16), (24, 32), (48, 64), (300, 320), (512, 512)])
def test_an_adapter_of_any_rank_is_held_by_one_that_vllm_takes(tmp_path: Path, rank: int, asked: int) -> None:
    assert adapter(tmp_path, rank).engine_rank == asked


def test_a_rank_beyond_vllm_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="up to rank 512, this one has 600"):
        _ = adapter(tmp_path, 600).engine_rank


def test_vllm_takes_these_ranks() -> None:
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    assert set(ENGINE_RANKS) <= set(get_args(MaxLoRARanks))


class Built(Exception):
    """The engine was asked for; carries its arguments."""


def engine(**arguments: Any) -> None:
    raise Built(arguments)


def test_the_engine_keeps_to_the_memory_and_rank_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vllm: Any = types.ModuleType("vllm")
    vllm.LLM, vllm.SamplingParams = engine, None
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    lora: Any = types.ModuleType("vllm.lora.request")
    lora.LoRARequest = None
    monkeypatch.setitem(sys.modules, "vllm.lora.request", lora)
    tokenizer = MagicMock(chat_template=None, bos_token_id=None)
    transformers: Any = types.ModuleType("transformers")
    transformers.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda path: tokenizer)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    settings: Any = types.SimpleNamespace(
        prompt_style="completion",
        max_prompt_length=8,
        max_response_length=8,
        dtype="float32",
        seed=0,
        n_samples=1,
        greedy_beside=False,
    )
    with pytest.raises(Built) as built:
        next(generate(settings, [], adapter(tmp_path, 48), "cuda", gpu_memory=0.3))
    assert built.value.args[0]["gpu_memory_utilization"] == 0.3
    assert built.value.args[0]["max_lora_rank"] == 64


def problem(number: int, text: str = "q", source: str = "countdown") -> Problem:
    return Problem(number, [{"role": "user", "content": text}], source, None, None, twin=number)


def test_no_two_sampled_answers_share_a_seed() -> None:
    """256 problems with 16 samples had 271 seeds: sample i of a problem was sampled as sample i - 1 of the next."""
    seeds = {sample_seed(0, problem(number), sample) for number in range(256) for sample in range(16)}
    assert len(seeds) == 4096
    assert not any(seed + 1 in seeds for seed in seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    same = sample_seed(3, problem(7), 2)
    assert same == sample_seed(3, problem(7), 2)
    others = [(4, problem(7), 2), (3, problem(8), 2), (3, problem(7), 3), (3, problem(7, "other"), 2)]
    others.append((3, problem(7, source="math"), 2))
    assert same not in [sample_seed(*other) for other in others]


def test_a_seed_does_not_depend_on_the_process() -> None:
    assert sample_seed(0, problem(0), 0) == SEED_OF_THE_FIRST


SEED_OF_THE_FIRST = int.from_bytes(hashlib.blake2b(b"0|countdown|0|0|q", digest_size=8).digest(), "big") >> 1


@pytest.mark.parametrize(("temperature", "samples"), [(1.0, 3), (0.0, 1)])
def test_every_answer_is_a_request_with_its_own_seed(
    temperature: float, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Engine:
        def __init__(self, **_: Any) -> None:
            pass

        def generate(self, inputs: list[Any], sampling: list[Any], **_: Any) -> list[Any]:
            asked.extend(sampling)
            texts = [f"{given['prompt_token_ids']} {one.seed}" for given, one in zip(inputs, sampling, strict=True)]
            # The text in characters, and its end.
            made = [types.SimpleNamespace(token_ids=[*map(ord, text), 0], finish_reason="stop") for text in texts]
            return [types.SimpleNamespace(outputs=[one]) for one in made]

    class Tokenizer:
        chat_template, eos_token_id, bos_token_id = None, 0, None

        def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
            return messages[0]["content"]

        def __call__(self, text: str, **_: Any) -> dict[str, Any]:
            return {"input_ids": [len(text)]}

        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join(map(chr, ids))

    vllm: Any = types.ModuleType("vllm")
    vllm.LLM, vllm.SamplingParams = Engine, lambda **given: types.SimpleNamespace(**given)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    lora: Any = types.ModuleType("vllm.lora.request")
    lora.LoRARequest = None
    monkeypatch.setitem(sys.modules, "vllm.lora.request", lora)
    transformers: Any = types.ModuleType("transformers")
    transformers.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda path: Tokenizer())
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    settings: Any = types.SimpleNamespace(
        prompt_style="completion",
        max_prompt_length=8,
        max_response_length=8,
        dtype="float32",
        seed=5,
        n_samples=samples,
        temperature=temperature,
        top_p=0.9,
        greedy_beside=temperature > 0,
    )
    problems = [problem(0, "a"), problem(1, "bb")]
    (answers,) = list(generate(settings, problems, Weights("base"), "cuda"))
    drawn = [*range(samples), GREEDY] if temperature else [0]
    assert [(each["problem"], each["sample"]) for each in answers] == [(n, s) for n in (0, 1) for s in drawn]
    chance = [bool(temperature) and s != GREEDY for _ in (0, 1) for s in drawn]
    wanted = [sample_seed(5, problems[n], s) for n in (0, 1) for s in drawn]
    seeds = [seed if by_chance else None for seed, by_chance in zip(wanted, chance, strict=True)]
    assert [one.seed for one in asked] == seeds
    assert [one.temperature > 0 for one in asked] == chance
    assert {one.top_p for one, by_chance in zip(asked, chance, strict=True) if temperature and not by_chance} <= {1.0}
    many = [problem(number) for number in range(600)]
    chunks = {device: len(list(generate(settings, many, Weights("base"), device))) for device in ("cpu", "cuda")}
    # Between two of them a GPU would idle.
    assert chunks == {"cpu": 3, "cuda": 1}
    assert not any(hasattr(one, "n") for one in asked), "vLLM would count the seeds of a request's answers up"
    assert [each["output"] for each in answers] == [
        f"[{n + 1}] {seed}" for n, seed in zip([0] * len(drawn) + [1] * len(drawn), seeds, strict=True)
    ]


def trained(folder: Path, last: int, best: int | None) -> Path:
    for name, step in (("last", last), ("best", best)):
        if step is not None:
            place = folder / "hf" / name
            place.mkdir(parents=True)
            (place / "config.json").write_text("{}")
            (place / "model.safetensors").write_text("")
            (folder / "hf" / f"{name}.json").write_text(json.dumps({"step": step, "val/acc": 0.5}))
    return folder


def test_of_a_run_the_last_weights_are_evaluated_and_named(tmp_path: Path) -> None:
    """hf/best was picked on the problems that --eval would report it on."""
    run = trained(tmp_path / "run", 30, 20)
    found = resolve_model(str(run))
    assert found == Weights(str(run / "hf/last"))
    assert chosen_weights(found) == (
        f"{run / 'hf/last'} (the last, step 30; the highest validation, step 20, is {run / 'hf/best'})"
    )
    best = resolve_model(str(run / "hf/best"))
    assert best == Weights(str(run / "hf/best"))
    said = "step 20, picked by its accuracy on the validation problems, which is therefore too high"
    assert said in chosen_weights(best)
    same = resolve_model(str(trained(tmp_path / "same", 30, 30)))
    assert chosen_weights(same) == f"{tmp_path / 'same/hf/last'} (the last, step 30)"
    assert short_title(same) == "same, step 30,"
    assert short_title(Weights("org/some-model")) == "some-model"


def test_other_weights_are_named_as_they_are(tmp_path: Path) -> None:
    assert chosen_weights(Weights("Qwen/Qwen2.5-0.5B")) == "Qwen/Qwen2.5-0.5B"
    assert chosen_weights(Weights("base", "/a/adapter")) == "/a/adapter on base"


def test_shards_alone_are_not_loaded_as_they_may_hold_code(tmp_path: Path) -> None:
    (tmp_path / "actor").mkdir()
    (tmp_path / "actor/model_world_size_1_rank_0.pt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"only verl's shards.*verl\.model_merger merge"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B"),
        ("Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
        ("gemma-2-2b-it", "google/gemma-2-2b-it"),
        ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B"),
        ("models/qwen2", "models/qwen2"),
        ("mymodel-2", "mymodel-2"),
    ],
)
def test_a_family_is_known_without_its_owner(name: str, meant: str) -> None:
    assert published_name(name) == meant
    assert resolve_model(name).path == meant
