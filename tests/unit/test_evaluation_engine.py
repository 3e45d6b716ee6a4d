"""What an evaluation asks of vLLM: the memory it was given, and a rank that vLLM takes."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from eval.generate import generate
from eval.models import ADAPTER_CONFIG, ENGINE_RANKS, ModelError, Weights


def adapter(folder: Path, rank: int) -> Weights:
    (folder / ADAPTER_CONFIG).write_text(json.dumps({"r": rank}))
    return Weights("base", str(folder))


@pytest.mark.parametrize(("rank", "asked"), [(1, 8), (8, 8), (9, 16), (24, 32), (48, 64), (300, 320), (512, 512)])
def test_an_adapter_of_any_rank_is_held_by_one_that_vllm_takes(tmp_path: Path, rank: int, asked: int) -> None:
    assert adapter(tmp_path, rank).engine_rank == asked


def test_a_rank_beyond_vllm_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="rank 512 at most, this has 600"):
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
    tokenizer = types.SimpleNamespace(chat_template=None)
    transformers: Any = types.ModuleType("transformers")
    transformers.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda path: tokenizer)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    settings: Any = types.SimpleNamespace(
        prompt_style="completion", max_prompt_length=8, max_response_length=8, dtype="float32", seed=0
    )
    with pytest.raises(Built) as built:
        next(generate(settings, [], adapter(tmp_path, 48), "cuda", gpu_memory=0.3))
    assert built.value.args[0]["gpu_memory_utilization"] == 0.3
    assert built.value.args[0]["max_lora_rank"] == 64
