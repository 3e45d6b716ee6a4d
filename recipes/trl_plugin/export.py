"""The trained weights as everything else reads them: hf/last whole and merged, hf/adapter, and the model card."""

import hashlib
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from recipes.own_files import keep_own_files
from recipes.run_dir import RunDir, publish, read_metrics, write_json, write_text
from recipes.training_record import TRAINING_RECORD
from recipes.trl_plugin.arguments import WARM_UP
from recipes.trl_plugin.plan import TrainingPlan

_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_LIBRARIES = ("trl", "transformers", "peft", "accelerate", "torch")


def export(plan: TrainingPlan, checkpoint: Path, tokenizer: Any, steps: int) -> None:
    """Make hf/last (and hf/adapter) from a whole checkpoint. Weights are of plan.dtype; adapters are merged into the
    original weights, not into their 4-bit form."""
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
    write_text(weights / "README.md", model_card(plan, steps))
    publish(weights, run.hf / "last")
    shutil.rmtree(scratch)


def model_card(plan: TrainingPlan, steps: int) -> str:
    """The settings, the data and the last validation of a run."""
    a = plan.alignment
    feedback = f" on {a.feedback} feedback" if plan.method == "una" else ""
    loss = f", loss {a.una_loss}" if plan.method == "una" and a.feedback != "pairwise" else ""
    facts = {
        "method": f"{plan.method}{feedback}{loss}",
        **plan.about,
        "started from": plan.model,
        "train file": f"{plan.train_file} (sha256 {_sha256(plan.train_file)})",
        "steps": f"{steps} of {a.batch_size} rows ({plan.accumulation} micro-batches of {a.micro_batch_size} on "
        f"{plan.devices} {plan.device})",
        "learning rate": f"{a.lr:g}, {WARM_UP:.0%} warm-up, then cosine",
        "beta": "" if plan.method == "sft" else f"{a.beta:g}",
        "sft_ratio": f"{a.sft_ratio:g}" if a.sft_ratio else "",
        "adapter": f"LoRA rank {plan.lora_rank}, alpha {a.lora_alpha}, dropout {a.lora_dropout}, on all linear layers"
        + (", weights held in 4 bits" if a.load_in_4bit else "")
        if plan.lora_rank
        else "",
        "prompts": "the model's chat template" if plan.prompt_style == "chat" else "plain text, no template",
        "longest row": f"{a.max_length} tokens",
        "type": plan.dtype,
        "seed": str(plan.seed),
        "versions": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
    }
    lines = ["---", "library_name: transformers", "tags: [alignment, " + plan.method + "]", "---", ""]
    lines += [f"# {Path(plan.model).name} after {plan.method}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items() if value]
    measured = [row for row in read_metrics(RunDir(Path(plan.run_dir)).metrics) if _validation(row)]
    if measured:
        first, last = measured[0], measured[-1]
        lines += ["", f"| test file | step {first['step']} | step {last['step']} |", "|---|---|---|"]
        for name, value in _validation(last).items():
            before = first["data"].get(name)
            lines.append(f"| {name} | {'' if before is None else f'{before:.4f}'} | {value:.4f} |")
    return "\n".join(lines) + "\n"


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _validation(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row["data"].items() if name.startswith("val/")}
