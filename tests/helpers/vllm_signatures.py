"""What our code, and verl for it, hands to vLLM, and what the two pinned versions take.

`python -m tests.helpers.vllm_signatures` writes the list of the installed one, tests/recorded/vllm_cpu.yaml or
vllm_cuda.yaml: run it in each stack's environment when its vLLM changes. A contract test of the same name compares.
"""

import argparse
import enum
import inspect
import pkgutil
import typing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
STACKS = ("cpu", "cuda")

_ENGINE = "vllm.v1.engine.async_llm:AsyncLLM"
_ARGUMENTS = "vllm.engine.arg_utils:AsyncEngineArgs"

HANDED_OVER = {
    "vllm:LLM": "model dtype seed enforce_eager gpu_memory_utilization",
    "vllm:LLM.generate": "prompts sampling_params use_tqdm lora_request",
    "vllm:SamplingParams": "temperature top_p top_k max_tokens seed logprobs repetition_penalty ignore_eos output_kind "
    "detokenize n",
    "vllm.sampling_params:RequestOutputKind": "FINAL_ONLY",
    "vllm.lora.request:LoRARequest": "lora_name lora_int_id lora_path",
    "vllm.config.lora:MaxLoRARanks": "8 16 32 64 128 256 320 512",
    _ARGUMENTS: "model dtype load_format skip_tokenizer_init distributed_executor_backend worker_extension_cls "
    "trust_remote_code max_model_len max_num_seqs enable_chunked_prefill max_num_batched_tokens enable_prefix_caching "
    "enable_sleep_mode logprobs_mode enforce_eager gpu_memory_utilization disable_log_stats tensor_parallel_size seed "
    "override_generation_config quantization hf_overrides scheduling_policy compilation_config enable_expert_parallel "
    "enable_lora max_loras max_lora_rank",
    f"{_ARGUMENTS}.from_cli_args": "args",
    f"{_ARGUMENTS}.create_engine_config": "usage_context",
    f"{_ENGINE}.from_vllm_config": "vllm_config usage_context enable_log_requests disable_log_stats",
    f"{_ENGINE}.generate": "prompt sampling_params request_id lora_request priority",
    f"{_ENGINE}.collective_rpc": "method timeout args kwargs",
    f"{_ENGINE}.sleep": "level",
    f"{_ENGINE}.wake_up": "tags",
    f"{_ENGINE}.reset_prefix_cache": "reset_connector",
    f"{_ENGINE}.reset_mm_cache": "",
    f"{_ENGINE}.reset_encoder_cache": "",
    f"{_ENGINE}.list_loras": "",
    f"{_ENGINE}.wait_for_requests_to_drain": "",
    "vllm.entrypoints.openai.api_server:build_app": "args supported_tasks model_config",
    "vllm.outputs:CompletionOutput": "index text token_ids cumulative_logprob logprobs finish_reason",
    "vllm.lora.worker_manager:LRUCacheWorkerLoRAManager._load_adapter": "lora_request",
    "vllm.lora.lora_model:LoRAModel.from_lora_tensors": "lora_model_id tensors peft_helper device dtype "
    "model_vocab_size weights_mapper",
    "vllm.lora.peft_helper:PEFTHelper.from_dict": "config_dict",
    "vllm.lora.peft_helper:PEFTHelper.validate_legal": "lora_config",
    "vllm.model_executor.model_loader.utils:process_weights_after_loading": "model model_config target_device",
    "vllm.v1.worker.worker_base:WorkerBase.add_lora": "lora_request",
    "vllm.v1.worker.worker_base:WorkerBase.remove_lora": "lora_id",
}
"""What has to be there, by name, and the parameters, fields, members or values of it that are used."""

ON_THE_CPU = {
    "vllm.model_executor.layers.utils:dispatch_cpu_unquantized_gemm": "layer remove_weight",
    "vllm.v1.sample.ops.topk_topp_sampler:TopKTopPSampler.forward_cpu": "logits generators k p",
    "vllm.v1.sample.ops.topk_topp_sampler:apply_top_k_top_p": "logits k p",
}
"""The same, of what verl_plugin/vllm_cpu.py replaces or calls; the CUDA stack never loads it."""


def used(stack: str) -> dict[str, list[str]]:
    """What is used of each name on that stack."""
    names = HANDED_OVER | (ON_THE_CPU if stack == "cpu" else {})
    return {name: words.split() for name, words in names.items()}


def installed_stack() -> str:
    """Which of the two stacks' vLLM is installed."""
    return "cpu" if "cpu" in version("vllm") else "cuda"


def file_of(stack: str) -> Path:
    """Where the list of a stack lies."""
    return ROOT / f"tests/recorded/vllm_{stack}.yaml"


def recorded(stack: str) -> dict[str, Any]:
    """{version, takes: {name: parameters}} as written."""
    found: dict[str, Any] = yaml.safe_load(file_of(stack).read_text(encoding="utf-8"))
    return found


def takes(name: str) -> list[str]:
    """The parameters of what vLLM has under a name: "x", "x=" with a default, "**x"; of an enum its members."""
    found = pkgutil.resolve_name(name)
    if isinstance(found, enum.EnumType):
        return list(found.__members__)
    if values := typing.get_args(found):
        return [str(value) for value in values]
    listed = []
    for parameter in inspect.signature(found).parameters.values():
        mark = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        listed.append(f"{mark}{parameter.name}{'=' * (parameter.default is not parameter.empty)}")
    return [each for each in listed if each not in ("self", "cls")]


def main() -> None:
    """Write the list of the installed vLLM."""
    argparse.ArgumentParser(prog="python -m tests.helpers.vllm_signatures", description=main.__doc__).parse_args()
    stack = installed_stack()
    found = {"version": version("vllm"), "takes": {name: " ".join(takes(name)) for name in used(stack)}}
    head = "# Written by python -m tests.helpers.vllm_signatures, in the environment of the stack.\n"
    file_of(stack).write_text(head + yaml.safe_dump(found, sort_keys=False, width=118), encoding="utf-8")
    print(f"{len(found['takes'])} names of vLLM {found['version']} in {file_of(stack)}")


if __name__ == "__main__":
    main()
