"""TRL's SFTTrainer, DPOTrainer and KTOTrainer with batches, losses and metrics per optimiser step.

What is overridden, and why:
_prepare_dataset, _precompute_ref_logps  rows are already tokenised (batches.py), the reference is ours (reference.py)
get_batch_samples                        the reference, and KTO's KL term, are computed once per step
compute_loss, log                        rewards of every row are collected, so that metrics are per step
_compute_loss                            una only: its loss
_compute_kl_logps                        kto only: the step's KL term in place of the micro-batch's
_save_checkpoint                         checkpoints/global_step_N, complete or absent
_send_telemetry, create_model_card       do nothing

The gradient is the same for every split of batch_size into micro-batches and devices. DPO, KTO and UNA average over
rows: micro-batches have equal size by construction, so the trainer's mean over them is the mean over the step's rows.
sft averages over the step's completion tokens (the trainer counts them over all devices). TRL estimates KTO's KL term
per micro-batch, so its gradient would change with micro_batch_size; here it is estimated once from all rows of the
step. Only dropout (lora_dropout > 0) draws different masks when the split changes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import Trainer
from trl import DPOTrainer, KTOTrainer, SFTTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.utils import selective_log_softmax, use_adapter

from recipes.algorithms import find_shape
from recipes.algorithms.base import Shape
from recipes.algorithms.losses.implicit_reward import completion_log_probs, implicit_reward, una_loss
from recipes.algorithms.losses.terms import term_sum
from recipes.common.run_dir import RunDir
from recipes.trl_plugin.batches import POSITION, Batches
from recipes.trl_plugin.measure import Scores, kl_to_ref, pair_metrics, row_metrics
from recipes.trl_plugin.plan import TrainingPlan
from recipes.trl_plugin.rows import HeldOut

Batch = dict[str, torch.Tensor]


class WholeStep(Trainer):
    """The common part of the trainers, mixed in before TRL's class."""

    uses_reference: ClassVar[bool] = True

    def __init__(self, plan: TrainingPlan, batches: Batches, **kwargs: Any) -> None:
        self.plan, self.batches = plan, batches
        positions = Dataset.from_dict({POSITION: list(range(len(batches.order)))})
        super().__init__(data_collator=batches, train_dataset=positions, **kwargs)
        if plan.method == "sft" and not self.model_accepts_loss_kwargs:
            raise RuntimeError(
                f"{plan.model} does not accept num_items_in_batch, so its loss would be a mean of micro-batch means"
            )
        # get_batch_samples adds the reference to every batch, where TRL then reads it.
        self.precompute_ref_logps = True
        self._restore_adapter_dropout()
        self.held_out_reference: torch.Tensor | None = None
        self._collected: list[torch.Tensor] = []
        self._tokens = 0

    def _restore_adapter_dropout(self) -> None:
        # TRL disables all dropout in preference trainers, including the adapter's, and so would ignore lora_dropout.
        for name, module in self.model.named_modules():
            if ".lora_dropout." in name and isinstance(module, torch.nn.Dropout):
                module.p = self.plan.alignment.lora_dropout

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *_: Any, **__: Any) -> None:
        pass

    # --- log-probabilities -------------------------------------------------------------------------------------------

    @contextmanager
    def _model(self, reference: bool) -> Iterator[Any]:
        frozen = getattr(self, "ref_model", None)
        unwrapped = self.accelerator.unwrap_model(self.model)
        if not reference:
            yield self.model
        elif frozen is not None:
            yield frozen
        elif isinstance(unwrapped, PeftModel):
            with use_adapter(unwrapped, None):
                yield self.model
        elif self.state.global_step == 0:
            yield self.model
        else:
            raise RuntimeError("the reference no longer exists: all its weights have been trained")

    @torch.no_grad()
    def log_probs(self, batch: Batch, *, reference: bool = False) -> torch.Tensor:
        """log pi(completion | prompt) per row of a batch, (rows,), without dropout, under policy or reference."""
        batch = self._prepare_inputs(batch)
        self.model.eval()
        with self._model(reference) as model:
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
        return completion_log_probs(logits, batch["input_ids"], batch["completion_mask"])

    def reference_columns(self, batch: Batch) -> Batch:
        """The reference's log-probabilities of a batch by TRL's column names, (rows,) each; none by default."""
        return {}

    def spread(self, count: int, size: int, compute: Callable[[list[int]], torch.Tensor]) -> torch.Tensor:
        """compute(indices) -> (indices, k) for 0 .. count - 1, `size` at a time, split over the ranks: (count, k).

        Every rank makes the same number of calls, as sharded weights require.
        """
        world = self.accelerator.num_processes
        padded = [index % count for index in range(-(-count // world) * world)]
        mine = padded[self.accelerator.process_index :: world]
        values = torch.cat([compute(mine[at : at + size]) for at in range(0, len(mine), size)])
        gathered = self.accelerator.gather(values).view(world, len(mine), -1)
        return gathered.transpose(0, 1).reshape(len(padded), -1)[:count].cpu()

    # --- a step ------------------------------------------------------------------------------------------------------

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Batch], Any]:
        batches, items = super().get_batch_samples(*args, **kwargs)
        if self.uses_reference:
            for batch in batches:
                if not batch.keys() & self.batches.reference.keys():
                    batch.update(self.reference_columns(batch))
            self._whole_step(batches)
        return batches, items

    def _whole_step(self, batches: list[Batch]) -> None:
        """Called with all micro-batches of a step, including references, before the first is trained on."""

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        self._tokens += int(inputs["attention_mask"].sum())
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)
        if self.uses_reference:
            self._collect(inputs, outputs.logits.detach())
        return (loss, outputs) if return_outputs else loss

    def _collect(self, inputs: Batch, logits: torch.Tensor) -> None:
        """Store (rows, columns): policy, reference and tokens per completion, and the target if rows are not pairs."""
        mask = inputs["completion_mask"]
        # Row by row: float32 logits of a full micro-batch would cause a second memory peak.
        rows = range(len(mask))
        policy = torch.cat([completion_log_probs(logits[[i]], inputs["input_ids"][[i]], mask[[i]]) for i in rows])
        if self.plan.pairwise:
            reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
            both = torch.stack([policy, reference, mask.sum(-1).float()], dim=-1)
            self._collected.append(torch.cat(both.chunk(2), dim=-1))
        else:
            columns = [policy, inputs["ref_logps"], mask.sum(-1).float(), inputs["label"].float()]
            self._collected.append(torch.stack(columns, dim=-1))

    def _step_metrics(self) -> dict[str, float]:
        """Rewards of all rows of the step, over all micro-batches and devices."""
        if not self._collected:
            return {}
        columns = self.accelerator.gather(torch.cat(self._collected)).cpu().unbind(-1)
        self._collected.clear()
        first, beta = Scores(*columns[:3]), self.plan.alignment.beta
        if self.plan.pairwise:
            second = Scores(*columns[3:])
            both = Scores(*(torch.cat(pair) for pair in zip(columns[:3], columns[3:], strict=True)))
            return pair_metrics(first.rewards(beta), second.rewards(beta)) | {"kl_to_ref": kl_to_ref(both)}
        return row_metrics(first.rewards(beta), columns[3]) | {"kl_to_ref": kl_to_ref(first)}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        theirs = self._metrics["train"]
        if "loss" in logs:
            for name in ("entropy", "mean_token_accuracy", "kl"):
                if theirs[name]:
                    logs[f"train/{name}"] = sum(theirs[name]) / len(theirs[name])
            tokens = torch.tensor(self._tokens, device=self.accelerator.device)
            logs["train/tokens"] = float(self.accelerator.reduce(tokens, reduction="sum"))
            self._tokens = 0
            logs |= self._step_metrics()
        theirs.clear()
        super().log(logs, start_time)

    # --- the test file -----------------------------------------------------------------------------------------------

    def held_out_scores(self, rows: HeldOut) -> Scores:
        """Log-probabilities of all completions of the test file; the reference's are computed once."""
        collate = DataCollatorForUnpairedPreference(pad_token_id=self.processing_class.pad_token_id)
        # Rows of similar length together: less padding.
        order = sorted(range(len(rows.completions)), key=lambda at: sum(map(len, rows.completions[at])))
        places = torch.tensor(order).argsort()

        def measured(reference: bool) -> torch.Tensor:
            def compute(indices: list[int]) -> torch.Tensor:
                chosen = [rows.completions[order[index]] for index in indices]
                examples = [{"prompt_ids": p, "completion_ids": c, "label": False} for p, c in chosen]
                return self.log_probs(collate(examples), reference=reference).unsqueeze(-1)

            size = 2 * self.plan.alignment.micro_batch_size
            return self.spread(len(order), size, compute)[places, 0]

        policy = measured(False)
        if self.held_out_reference is None:
            self.held_out_reference = measured(True) if self.uses_reference else policy
        tokens = torch.tensor([float(len(completion)) for _, completion in rows.completions])
        return Scores(policy, self.held_out_reference, tokens)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            run, step = RunDir(Path(self.plan.run_dir)), self.state.global_step
            run.checkpoint_renamed(run.checkpoints / f"checkpoint-{step}", step, self.plan.keep_checkpoints)
        self.accelerator.wait_for_everyone()


def shaped_loss(shape: Shape, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any) -> torch.Tensor:
    """-sum g(sg p) log p over labelled tokens / the step's number of them; Trainer's compute_loss_func."""
    targets = labels[:, 1:]
    log_probs = selective_log_softmax(outputs.logits[:, :-1], targets.clamp(min=0))
    return term_sum(log_probs, (targets >= 0).float(), shape) / num_items_in_batch


class InstructionTrainer(WholeStep, SFTTrainer):
    """Cross-entropy of the completions, or the algorithm's shape of it, averaged over the step's tokens."""

    uses_reference = False

    def __init__(self, plan: TrainingPlan, *args: Any, **kwargs: Any) -> None:
        loss = partial(shaped_loss, find_shape(plan.shape)) if plan.shape else None
        super().__init__(plan, *args, compute_loss_func=loss, **kwargs)


class PairTrainer(WholeStep, DPOTrainer):
    """DPO's sigmoid loss, which is UNA on pairs (equation 10)."""

    def reference_columns(self, batch: Batch) -> Batch:
        chosen, rejected = self.log_probs(batch, reference=True).chunk(2)
        return {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}


class UnaTrainer(WholeStep, KTOTrainer):
    """UNA on labels or scores (equations 11 to 13): KTO's rows and reference, without its KL term and with our loss."""

    def reference_columns(self, batch: Batch) -> Batch:
        return {"ref_logps": self.log_probs(batch, reference=True)}

    def _compute_loss(self, model: Any, inputs: Batch, return_outputs: bool) -> Any:
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        log_probs = completion_log_probs(outputs.logits, inputs["input_ids"], inputs["completion_mask"])
        rewards = implicit_reward(log_probs, inputs["ref_logps"], self.plan.alignment.beta)
        total_rows = self.plan.alignment.batch_size
        loss = una_loss(rewards, inputs["label"].float(), self.plan.alignment.una_loss, total_rows=total_rows)
        # Undoes the trainer's division by the number of micro-batches and its averaging over devices.
        loss = loss * self.current_gradient_accumulation_steps * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


class LabelTrainer(WholeStep, KTOTrainer):
    """TRL's KTO loss with the KL term z0 = max(0, mean log pi(y'|x) / pi_ref(y'|x)) of the entire step, where y' is the
    completion before x's own in the step's order (for the first row: the last)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Constructed as apo_zero_unpaired: see arguments.py.
        self.loss_type, self.calculate_KL = "kto", True

    def reference_columns(self, batch: Batch) -> Batch:
        mismatched = self.log_probs(_mismatched(batch), reference=True)
        return {"ref_logps": self.log_probs(batch, reference=True), "ref_KL_logps": mismatched}

    def _whole_step(self, batches: list[Batch]) -> None:
        ratios = [self.log_probs(_mismatched(batch)) - batch["ref_KL_logps"] for batch in batches]
        self._step_kl = self.accelerator.gather(torch.cat(ratios)).mean()
        for batch in batches:
            batch["ref_KL_logps"] = torch.zeros_like(batch["ref_KL_logps"])

    def _compute_kl_logps(self, model: Any, batch: Batch) -> torch.Tensor:
        # TRL then subtracts ref_KL_logps, takes the mean and clamps it at 0.
        return self._step_kl.expand(len(batch["label"]))


def _mismatched(batch: Batch) -> Batch:
    return {name.removeprefix("KL_"): value for name, value in batch.items() if name.startswith("KL_")}


def trainer_class(plan: TrainingPlan) -> type[Any]:
    """The trainer class for a plan."""
    if plan.method == "sft":
        return InstructionTrainer
    if plan.pairwise:
        return PairTrainer
    return LabelTrainer if plan.method == "kto" else UnaTrainer
