"""What is so in a process of a run, by name: `python -m tests.contract.in_a_run` prints {name: "" or the error}.

A process of its own, because what is registered stays registered; one for all, because importing verl takes seconds.
"""

import importlib
import json
import os
import traceback
from collections.abc import Callable
from types import SimpleNamespace

import torch

MODEL = "models/tiny-countdown"
SIZES = {
    "vocab_size": 16,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "num_hidden_layers": 2,
}


def our_end_of_the_weights_socket() -> None:
    from verl.workers.rollout.base import get_rollout_class

    assert get_rollout_class("vllm", "async").__qualname__ == "RunServerAdapter"


def log_probs_in_blocks() -> None:
    import verl.utils.torch_functional as functional

    assert functional.logprobs_from_logits_v2.__module__ == "recipes.verl_plugin.log_probs"


def critic_without_flash_attention_and_its_head_from_the_seed() -> None:
    import verl.utils.model
    from transformers import AutoConfig

    assert verl.utils.model.load_valuehead_model.__wrapped__
    config = AutoConfig.from_pretrained(MODEL)
    config.num_labels = 1
    first, second = (verl.utils.model.load_valuehead_model(MODEL, torch.float32, config, False) for _ in range(2))
    assert torch.equal(first.score.weight, second.score.weight)
    assert first(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, 1)


def adapter_from_the_seed() -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine

    def made() -> torch.Tensor:
        torch.rand(1)  # the process's own stream has gone on
        wanted = {"lora_adapter_path": None, "lora_rank": 4, "lora_alpha": 8, "target_modules": "all-linear"}
        engine = SimpleNamespace(model_config=SimpleNamespace(**wanted, target_parameters=None, exclude_modules=None))
        adapted = FSDPEngine._build_lora_module(engine, Qwen2ForCausalLM(Qwen2Config(**SIZES)))
        return next(weight for name, weight in adapted.named_parameters() if "lora_A" in name).detach()

    first, second = made(), made()
    assert first.any()
    assert torch.equal(first, second)


def untied_head_left_to_the_root_module() -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from verl.workers.engine.fsdp.transformer_impl import apply_fsdp2

    # What apply_fsdp2 calls, by whichever name the engine knows it.
    assert "_select_fsdp2_wrap_targets" in apply_fsdp2.__code__.co_names
    select = apply_fsdp2.__globals__["_select_fsdp2_wrap_targets"]

    def units(model: torch.nn.Module) -> list[str]:
        chosen = select(model, ["Qwen2DecoderLayer"])
        return [name for name, module in model.named_modules() if any(module is each for each in chosen)]

    with torch.device("meta"):
        untied, tied = (Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=tied)) for tied in (False, True))
    layers = ["model.layers.0", "model.layers.1"]
    assert units(untied) == ["model.embed_tokens", *layers], units(untied)
    assert units(tied) == layers, units(tied)
    adapter = units(get_peft_model(untied, LoraConfig(target_modules="all-linear", modules_to_save=["lm_head"])))
    assert adapter == [f"base_model.model.{name}" for name in ("model.embed_tokens", *layers)], adapter


def cpu_platform() -> None:
    """Last: it changes verl for good."""
    import verl.workers.engine.fsdp.transformer_impl as engine
    from torch.distributed.fsdp import OffloadPolicy

    from recipes.verl_plugin.platform_cpu import PlatformCPU

    platform = PlatformCPU()
    assert platform.device_name == "cpu"
    assert platform.ray_resource_name() == "GPU"
    assert not platform.is_ipc_supported()
    free, total = platform.device_module.mem_get_info()
    assert 0 < free <= total
    assert type(engine.CPUOffloadPolicy(pin_memory=True)) is OffloadPolicy


CHECKS: list[Callable[[], None]] = [
    our_end_of_the_weights_socket,
    log_probs_in_blocks,
    critic_without_flash_attention_and_its_head_from_the_seed,
    adapter_from_the_seed,
    untied_head_left_to_the_root_module,
    cpu_platform,
]


def error_of(check: Callable[[], None]) -> str:
    """The traceback of a check that failed; empty if it did not."""
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return ""


def found() -> dict[str, str]:
    """Each check's error, empty where it holds."""
    return {check.__name__: error_of(check) for check in CHECKS}


if __name__ == "__main__":
    os.environ |= {"VERL_USE_EXTERNAL_MODULES": "recipes.verl_plugin.external", "UFT_SEED": "3"}
    importlib.import_module("verl.trainer.sft_trainer")  # as an SFT stage imports verl
    print(json.dumps(found()))
