"""Exports the trained weights: hf/last with adapters merged, and hf/adapter."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from recipes.common.run_dir import RunDir, publish, write_json
from recipes.common.training_record import TRAINING_RECORD
from recipes.settings.own_files import keep_own_files
from recipes.trl_plugin.plan import TrainingPlan

_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def export(plan: TrainingPlan, checkpoint: Path, tokenizer: Any) -> None:
    """Make hf/last (and hf/adapter) from a complete checkpoint. Weights have plan.dtype; adapters are merged into the
    original weights, not into their quantised form."""
    run = RunDir(Path(plan.run_dir))
    dtype = getattr(torch, plan.dtype)
    scratch = run.hf / f".export.{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    if plan.lora_rank:
        adapter = scratch / "adapter"
        adapter.mkdir(parents=True)
        for name in _ADAPTER:
            shutil.copy2(checkpoint / name, adapter / name)
        write_json(adapter / TRAINING_RECORD, plan.record)
        publish(adapter, run.hf / "adapter")
        base = AutoModelForCausalLM.from_pretrained(plan.model, dtype=dtype)
        model = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype)
    weights = scratch / "last"
    model.save_pretrained(weights)
    tokenizer.save_pretrained(weights)
    keep_own_files(plan.model, weights)
    write_json(weights / TRAINING_RECORD, plan.record)
    publish(weights, run.hf / "last")
    shutil.rmtree(scratch)
