"""Makes a checkpoint's Hugging Face folder as users expect it: plain weights (adapters merged), the model's tokenizer.

verl writes `huggingface/` next to its shards. With LoRA its weights have peft's names, which transformers does not
recognise and replaces with random weights; with any model its config.json has the dtype of the base model's file, and
its tokenizer is the one verl has modified for training.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from recipes.common.run_dir import write_json
from recipes.common.training_record import TRAINING_RECORD
from recipes.settings.own_files import keep_own_files

ADAPTER = "adapter"
"""Folder next to `huggingface/` with only the adapter, in peft's format."""

LORA_META = "lora_train_meta.json"
"""verl's file with rank and alpha of a checkpoint with adapters."""

_PEFT_PREFIX = "base_model.model."


def finish_export(checkpoint: Path, base: str, record: dict[str, Any], dtype: str = "float32") -> None:
    """Make `checkpoint/huggingface` loadable by any library, and `checkpoint/adapter` if adapters were trained.

    Args:
        checkpoint: verl's folder of the policy with `huggingface/` (and lora_train_meta.json with adapters).
        base: folder or hub name of the model the stage started from.
        record: how the weights were trained, for `huggingface/unified_ft.json`.
        dtype: of the weights in `huggingface/`: "float32" as trained, or "bfloat16"; the adapter keeps its own.
    """
    weights = checkpoint / "huggingface"
    if (checkpoint / LORA_META).exists():
        adapter = _split_adapter(checkpoint, base)
        _merge(base, adapter, weights)
        write_json(adapter / TRAINING_RECORD, record)
    if dtype == "bfloat16":
        _to_bfloat16(weights)
    _set_config_dtype(weights)
    keep_own_files(base, weights)
    write_json(weights / TRAINING_RECORD, record)


def _split_adapter(checkpoint: Path, base: str) -> Path:
    """Write the adapter of a checkpoint into its own folder."""
    from peft import LoraConfig
    from safetensors import safe_open
    from safetensors.torch import save_file

    found = {}
    for file in sorted((checkpoint / "huggingface").glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (no mapping)
                if ".lora_" in name:
                    found[name.replace(".default.", ".")] = tensors.get_tensor(name)
    if not found:
        raise ValueError(f"{checkpoint / LORA_META} exists, but {checkpoint / 'huggingface'} has no adapter weights")
    meta = json.loads((checkpoint / LORA_META).read_text(encoding="utf-8"))
    modules = {name.partition(".lora_")[0].removeprefix(_PEFT_PREFIX).rpartition(".")[2] for name in found}
    folder = checkpoint / ADAPTER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    LoraConfig(
        r=meta["r"],
        lora_alpha=meta["lora_alpha"],
        target_modules=sorted(modules),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    ).save_pretrained(str(folder))
    save_file(found, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def _merge(base: str, adapter: Path, weights: Path) -> None:
    """Replace the weights in a folder with the base model's plus the adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, str(adapter), torch_device="cpu").merge_and_unload()
    for file in weights.glob("*.safetensors*"):
        file.unlink()
    merged.save_pretrained(weights)


def _to_bfloat16(weights: Path) -> None:
    """Convert the weights in a folder to bfloat16, one file at a time."""
    import torch
    from safetensors.torch import load_file, save_file

    for file in weights.glob("*.safetensors"):
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
        save_file(tensors, file, metadata={"format": "pt"})
    index = weights / "model.safetensors.index.json"
    if index.exists():
        found = json.loads(index.read_text(encoding="utf-8"))
        size = sum(file.stat().st_size for file in weights.glob("*.safetensors"))
        write_json(index, {**found, "metadata": {**found.get("metadata", {}), "total_size": size}})


def _set_config_dtype(weights: Path) -> None:
    """Set the dtype in config.json to that of the weights; loaders would silently convert them otherwise."""
    from safetensors import safe_open

    with safe_open(next(iter(sorted(weights.glob("*.safetensors")))), framework="pt") as tensors:
        dtype = tensors.get_tensor(next(iter(tensors.keys()))).dtype
    file = weights / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    write_json(file, {**config, "dtype": str(dtype).removeprefix("torch.")})
