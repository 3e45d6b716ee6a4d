"""Entry point of an offline alignment stage: `python -m recipes.trl_plugin.main FOLDER`, or the same with torchrun.

FOLDER/trl.yaml is a TrainingPlan. All output goes into the plan's run folder.
"""

import faulthandler
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import recipes.common.loopback  # noqa: F401  (a hook)
from data_prep.schema import SchemaError
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, checkpoint_step, complete_checkpoints
from recipes.trl_plugin.plan import TrainingPlan, check_machine, read_plan, total_steps

# Before the libraries are imported: no telemetry, no progress bars in a log file.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")


def main() -> None:
    """Run one stage to its end; a user error prints one line and exits with code 2."""
    faulthandler.register(signal.SIGUSR1, file=sys.stderr)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m recipes.trl_plugin.main FOLDER")
    try:
        plan = read_plan(Path(sys.argv[1]))
        check_machine(plan)
        if int(os.environ.get("WORLD_SIZE", "1")) != plan.devices:
            raise ExperimentError(f"the plan is for {plan.devices} processes; start it with torchrun --nproc_per_node")
        train(plan)
    except (ExperimentError, SchemaError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def train(plan: TrainingPlan) -> None:
    """Train, save and export the weights."""
    from transformers import AutoTokenizer, set_seed
    from transformers.utils.logging import disable_progress_bar

    from recipes.trl_plugin.compat import check_trl_version
    from recipes.trl_plugin.export import export
    from recipes.trl_plugin.recording import Recording
    from recipes.trl_plugin.rows import encoder, load_held_out, load_training, run_order

    check_trl_version()
    disable_progress_bar()
    run = RunDir(Path(plan.run_dir))
    tokenizer = AutoTokenizer.from_pretrained(plan.model)
    encode = encoder(plan, tokenizer)
    examples = load_training(plan, encode)
    steps = total_steps(plan, len(examples.rows))
    order = run_order(len(examples.rows), steps * plan.alignment.batch_size, plan.seed)
    # Adapters are initialised randomly.
    set_seed(plan.seed)
    trainer = build_trainer(plan, examples.rows, order, tokenizer)
    if trainer.accelerator.is_main_process:
        for reason, count in examples.left_out.items():
            print(f"{count} rows of {plan.train_file} are skipped: {reason}")
        print(f"{plan.method}: {len(examples.rows)} rows, {steps} steps", flush=True)
        for incomplete in run.checkpoints.glob("checkpoint-*"):
            shutil.rmtree(incomplete)
    recording = Recording(plan, trainer, load_held_out(plan, encode), steps)
    trainer.add_callback(recording)
    recording.phase("starting")
    reached = (checkpoint_step(Path(plan.resume_from)) or 0) if plan.resume_from else 0
    ended = recording.is_over(reached)
    if not ended:
        trainer.train(resume_from_checkpoint=plan.resume_from)
    if trainer.accelerator.is_main_process:
        if ended:
            recording.records.resume_at(reached)
        last, checkpoint = complete_checkpoints(run.checkpoints)[-1]
        recording.phase("saving", last)
        export(plan, checkpoint, tokenizer)
        recording.phase("finished", last)
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def build_trainer(plan: TrainingPlan, rows: list[Any], order: list[int], tokenizer: Any) -> Any:
    """The trainer for a plan, over rows in this order."""
    from transformers import PrinterCallback

    from recipes.trl_plugin.arguments import adapter_config, quantization_config, trainer_config
    from recipes.trl_plugin.batches import Batches, collator
    from recipes.trl_plugin.trainers import trainer_class

    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    size = plan.alignment.batch_size
    batches = Batches(rows, order, collator(plan, tokenizer.pad_token_id), size, mismatched=plan.method == "kto")
    trainer = trainer_class(plan)(
        plan,
        batches,
        model=plan.model,
        args=trainer_config(plan, RunDir(Path(plan.run_dir)), len(order) // size),
        processing_class=tokenizer,
        peft_config=adapter_config(plan),
        quantization_config=quantization_config(plan),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    main()
