"""Models that verl or vLLM cannot take are refused by their files, before anything starts."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from recipes.checks.model_check import positions, refuse_model
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from tests import ROOT

LLAMA = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "num_hidden_layers": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
}


def refuse(folder: Path, config: dict[str, Any], *, trains: bool = True, profile: str = "cpu", **flags: Any) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    refuse_model(build_experiment({"model": str(folder), **flags}, PROFILES[profile]), trains=trains)


@pytest.mark.parametrize(
    ("config", "flags", "why"),
    [
        ({"model_type": "gpt2"}, {}, "verl cannot train gpt2 models"),
        ({"model_type": "gpt2"}, {"algo": "sft"}, "verl cannot train gpt2 models"),
        ({**LLAMA, "head_dim": 16}, {}, "attention heads of size 16"),
        ({**LLAMA, "num_attention_heads": 36}, {}, "attention heads of size 16"),
        ({**LLAMA, "head_dim": 16}, {"algo": "sft"}, "attention heads of size 16"),
        ({**LLAMA, "head_dim": 16}, {"algo": "dpo", "data": "countdown_preference"}, "attention heads of size 16"),
        ({**LLAMA, "architectures": ["BertModel"]}, {"algo": "sft"}, "BertModel is not a causal language model"),
        ({"model_type": "t5", "is_encoder_decoder": True}, {"algo": "rft"}, "t5 is not a causal language model"),
        (LLAMA, {"max_response_length": 4000}, "supports 2,048 tokens, but a sequence may have 4,320"),
        ({**LLAMA, "text_config": {"max_position_embeddings": 128}}, {}, "supports 128 tokens"),
        (LLAMA, {"prompt_style": "chat"}, "has no chat template"),
        (LLAMA, {"algo": "dpo", "data": "countdown_preference", "max_length": 4096}, "--max_length 2048 or less"),
    ],
)
def test_what_would_fail_after_a_minute_is_refused(
    config: dict[str, Any], flags: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ExperimentError, match=f"--model .*{why}"):
        refuse(tmp_path, config, **flags)


def test_a_folder_that_was_fetched_in_part_is_refused(tmp_path: Path) -> None:
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(ROOT / "models/tiny-countdown" / file, tmp_path)
    e = build_experiment({"model": str(tmp_path)}, PROFILES["cpu"])
    weights = tmp_path / "model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 134\n")
    with pytest.raises(ExperimentError, match=r"model\.safetensors is a git-lfs placeholder.*git lfs pull"):
        refuse_model(e, trains=False)
    shutil.copy(ROOT / "models/tiny-countdown" / weights.name, weights)
    refuse_model(e)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ExperimentError, match="no tokenizer in this folder"):
        refuse_model(e)


def test_what_works_is_not_refused(tmp_path: Path) -> None:
    refuse(tmp_path, LLAMA)
    # vLLM's kernels for GPUs have other sizes; TRL and plain evaluation take families that verl does not.
    refuse(tmp_path, {**LLAMA, "head_dim": 16}, profile="1x80gb", max_response_length=256)
    refuse(tmp_path, {"model_type": "gpt2"}, algo="dpo", data="countdown_preference")
    refuse(tmp_path, {"model_type": "gpt2", "n_positions": 1024}, trains=False, max_response_length=64)
    # Of another kind than transformers writes.
    refuse(tmp_path, {**LLAMA, "architectures": 5, "head_dim": "64"})
    refuse(tmp_path, {**LLAMA, "max_position_embeddings": -1}, algo="dpo", data="countdown_preference")
    # An evaluation gives no hints.
    refuse(tmp_path, {**LLAMA, "max_position_embeddings": 320}, trains=False, max_response_length=64)


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"max_position_embeddings": 32768}, 32768),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 32768, "rope_scaling": {"type": "yarn", "factor": 4.0}}, 131072),
        (
            {
                "max_position_embeddings": 163840,
                "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
            },
            163840,
        ),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "yarn", "factor": "4"}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": None}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": math.inf}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": -2}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": "yarn"}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": [1]}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": 2}, 4096),
        ({"max_position_embeddings": -1, "n_positions": True}, None),
        ({"max_position_embeddings": 10**400, "rope_scaling": {"type": "yarn", "factor": 4.0}}, None),
        ({"max_position_embeddings": 4096, "text_config": "decoder"}, 4096),
        ({"max_position_embeddings": 64, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 64),
        ({"model_type": "bloom"}, None),
    ],
)
def test_how_long_a_sequence_may_be(config: dict[str, Any], tokens: int | None) -> None:
    assert positions(config) == tokens


def test_answers_are_no_longer_than_the_model_takes_where_nobody_asks_for_more(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "max_position_embeddings": 1024}))
    for given, expected in (({}, 1024), ({"max_length": 512}, 512)):
        flags = {"model": str(tmp_path), "algo": "dpo", "data": "ultrafeedback", **given}
        assert build_experiment(flags, PROFILES["1x80gb"]).alignment.max_length == expected
