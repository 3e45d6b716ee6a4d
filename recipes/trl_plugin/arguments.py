"""TrainingPlan -> the arguments of TRL's trainers: configuration, adapter, 4- and 8-bit loading, FSDP2."""

import math
import os
from typing import Any

import torch
from peft import LoraConfig
from transformers import BitsAndBytesConfig
from trl import DPOConfig, KTOConfig, SFTConfig

from recipes.common.run_dir import RunDir
from recipes.trl_plugin.plan import TrainingPlan

# FSDP wraps whole decoder layers; accelerate finds their class in the model.
_FSDP2 = {
    "version": 2,
    "state_dict_type": "FULL_STATE_DICT",
    "reshard_after_forward": True,
    "activation_checkpointing": True,
}


def sharded(plan: TrainingPlan) -> bool:
    """Whether the weights are sharded over the GPUs (FSDP2). With an adapter every GPU holds the full model, and only
    the adapter's gradients are communicated (DDP)."""
    return plan.device == "cuda" and plan.devices > 1 and not plan.lora_rank


def trainer_config(plan: TrainingPlan, run: RunDir, steps: int) -> SFTConfig | DPOConfig | KTOConfig:
    """TRL's configuration for the method.

    One "epoch" of the trainer is the entire run: batches.py concatenates the real epochs. Validation, saving and
    logging are done by recording.py. Weights are stored in float32 and computed with in bfloat16 on a GPU.
    """
    a, cuda = plan.alignment, plan.device == "cuda"
    model: dict[str, Any] = {"dtype": _storage_dtype(plan), "device_map": None}
    if a.bits:
        model["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
    common: dict[str, Any] = {
        "output_dir": str(run.checkpoints),
        "per_device_train_batch_size": a.micro_batch_size,
        "gradient_accumulation_steps": plan.accumulation,
        "max_steps": steps,
        "train_sampling_strategy": "sequential",
        "learning_rate": a.lr,
        "lr_scheduler_type": "constant_with_warmup" if a.lr_schedule == "constant" else a.lr_schedule,
        "warmup_steps": math.ceil(a.warmup_ratio * steps),
        "weight_decay": a.weight_decay,
        "max_grad_norm": a.max_grad_norm,
        "optim": "adamw_torch",
        "seed": plan.seed,
        "bf16": plan.dtype == "bfloat16",
        "use_cpu": not cuda,
        "gradient_checkpointing": cuda and not sharded(plan),
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "model_init_kwargs": model,
        "max_length": None,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": cuda,
        "ddp_backend": "gloo" if not cuda and plan.devices > 1 else None,
        "ddp_find_unused_parameters": False,
    }
    if sharded(plan):
        common |= {"fsdp": "full_shard auto_wrap", "fsdp_config": dict(_FSDP2)}
    if plan.method == "sft":
        return SFTConfig(**common, loss_type="nll", dataset_kwargs={"skip_prepare_dataset": True})
    preference = {**common, "beta": a.beta, "precompute_ref_log_probs": a.precompute_ref}
    if plan.pairwise:
        return DPOConfig(**preference, loss_type=["sigmoid"])
    # TRL's own KL term is per micro-batch and constrains its size; trainers.py replaces it with the step's.
    weights = {"desirable_weight": a.desirable_weight, "undesirable_weight": a.undesirable_weight}
    return KTOConfig(**preference, **weights, loss_type="apo_zero_unpaired")


def _storage_dtype(plan: TrainingPlan) -> str:
    """float32 for trained weights; the compute dtype for frozen weights beside an adapter."""
    return plan.dtype if plan.lora_rank else "float32"


def adapter_config(plan: TrainingPlan) -> LoraConfig | None:
    """LoRA on every linear layer except the output layer, or None if all weights are trained."""
    if not plan.lora_rank:
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=plan.lora_rank,
        lora_alpha=plan.alignment.lora_alpha,
        lora_dropout=plan.alignment.lora_dropout,
        target_modules="all-linear",
    )


def quantization_config(plan: TrainingPlan) -> BitsAndBytesConfig | None:
    """QLoRA's NF4 with double quantisation, LLM.int8(), or None."""
    if plan.alignment.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    if not plan.alignment.load_in_4bit:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, plan.dtype),
    )
