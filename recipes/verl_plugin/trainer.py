"""verl's V1 trainer with our loss, our records and checkpoints that a kill cannot tear.

Only documented hooks and the step's own methods are overridden; each calls the original.
"""

import time
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass

import recipes.verl_plugin.advantage  # noqa: F401  (registers the estimator in the driver, where advantages are computed)
from recipes.algorithms import get_algorithm
from recipes.losses.hint_nll import hint_mask
from recipes.records import Records
from recipes.run_dir import RunDir, keep_newest, mark_complete
from recipes.verl_plugin.actor_loss import (
    FAILED_ROWS,
    HINT_TOKENS,
    HintLoss,
    ImplicitReward,
    actor_loss,
    critic_loss,
    una_loss,
)
from recipes.verl_plugin.export import finish_export
from recipes.verl_plugin.failed_rows import mask_failed, without_failed
from recipes.verl_plugin.metrics import hint_metrics, reward_metrics, validation_accuracy
from recipes.verl_plugin.reward_watch import EXAMPLES, RewardFailure, RewardLimits, RewardWatch, failure
from recipes.verl_plugin.rollout_log import digest, rollout_lines, write_rollouts
from recipes.verl_plugin.verl_config import POLL_SECONDS
from recipes.watch.heartbeat import NOTICE


class UnifiedTrainer(PPOTrainerSync):
    """verl's synchronous trainer, one algorithm of the family at a time (section `uft` of the configuration)."""

    def on_init_end(self) -> None:
        settings = self.config.uft
        self.run_dir = RunDir(Path(settings.run_dir))
        self.records = Records(self.run_dir.path, self.total_training_steps)
        # The validation of step 0 is made again where there is no checkpoint yet: its old line goes.
        self.records.resume_at(self.global_steps or -1)
        self.replay_buffer.poll_interval = POLL_SECONDS
        self._fetched = (-1, 0)
        self._failure: RewardFailure | None = None
        self._save_due = False
        self._algorithm = get_algorithm(settings.algorithm)
        self._reward_watch = RewardWatch(RewardLimits(**{f.name: settings[f.name] for f in fields(RewardLimits)}))
        self.actor_rollout_wg.set_loss_fn(self._loss())
        if self.use_critic:
            self.critic_wg.set_loss_fn(partial(critic_loss, omega_conf_to_dataclass(self.config.critic)))
        self._say_what_is_left_out()
        super().on_init_end()

    def _say_what_is_left_out(self) -> None:
        """verl drops problems with long prompts, and prints what is left in a line that only its authors can read."""
        data = self.config.data
        for kind, dataset, named, most in (
            ("training", self.train_dataset, data.train_files, data.train_max_samples),
            ("test", self.val_dataset, data.val_files, data.val_max_samples),
        ):
            files = [named] if isinstance(named, str) else list(named)
            if not all(file.endswith(".parquet") and Path(file).exists() for file in files):
                continue  # an override's: verl reads other kinds, and from other places
            rows = sum(parquet.ParquetFile(file).metadata.num_rows for file in files)
            rows = min(rows, most) if most > 0 else rows
            if left_out := rows - len(dataset):
                limit = f"--max_prompt_length {data.max_prompt_length}"
                print(f"{NOTICE}{left_out} of {rows} {kind} problems are left out: prompts longer than {limit} tokens")

    # --- heartbeat -------------------------------------------------------------------------------------------------

    def on_step_begin(self) -> None:
        self._failed_rows: set[str] = set()
        self.records.phase("rollout", self.global_steps - 1)
        super().on_step_begin()

    def on_sample_end(self) -> None:
        super().on_sample_end()
        self.records.phase("old_log_prob")

    def on_validate_begin(self) -> None:
        # The step that is validated is finished with its line of metrics, which follows.
        self.records.phase("validating", max(0, self.global_steps - 1))
        super().on_validate_begin()

    # --- one order of rollouts, whatever order they finished in ------------------------------------------------------

    def _fetch_one_gen_batch(self) -> TensorDict:
        batch = super()._fetch_one_gen_batch()
        if self._fetched[0] != self.global_steps:
            self._fetched = (self.global_steps, 0)
        step, first = self._fetched
        self._fetched = (step, first + len(batch))
        # verl's random uids would put a batch in another order in every run, and so change its floating-point sums.
        # (No "_": verl splits keys at it.)
        uids = [f"{step:07d}-{first + row:06d}" for row in range(len(batch))]
        tu.assign_non_tensor_stack(batch, "uid", uids)
        return batch

    def _balance_batch(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        batch.reorder(sorted(range(len(batch)), key=lambda row: batch.keys[row]))
        failed = mask_failed(batch)
        self._failed_rows |= failed
        if len(failed) == len(batch):
            # verl cannot update on a batch without a token, whatever the limits on failures are.
            self._rollout_metrics(batch, self.global_steps)
            raise self._failure or RewardFailure(f"no answer of step {self.global_steps} could be scored")
        return super()._balance_batch(batch, *args, **kwargs)

    # --- loss ------------------------------------------------------------------------------------------------------

    def _loss(self) -> partial[Any]:
        settings = self.config.uft
        if self._algorithm.objective == "implicit_reward":
            return partial(una_loss, ImplicitReward(beta=settings.beta, target=settings.una_target))
        hint = HintLoss(coef=settings.hint_nll_coef, aggregation=settings.hint_nll_agg)
        return partial(actor_loss, omega_conf_to_dataclass(self.config.actor_rollout_ref.actor), hint)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return without_failed(batch, self._failed_rows, partial(super()._compute_advantage, metrics=metrics))

    def _update_critic(self, batch: Any, metrics: dict[str, Any]) -> Any:
        updates = self._updates(batch, self.config.critic.ppo_mini_batch_size)
        batch.extra_info[FAILED_ROWS] = sum(key in self._failed_rows for key in batch.keys) / updates
        return super()._update_critic(batch, metrics)

    def _updates(self, batch: Any, mini_batch_size: int) -> int:
        """Optimiser steps on a batch, whose mini-batches are counted in prompts."""
        return max(1, len(batch) // (mini_batch_size * self.config.actor_rollout_ref.rollout.n))

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self.records.phase("update")
        updates = self._updates(batch, self.config.actor_rollout_ref.actor.ppo_mini_batch_size)
        loss_mask = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["loss_mask"])
        tokens = int(hint_mask(loss_mask["loss_mask"].to_padded_tensor(0)).sum())
        # The normaliser of an optimiser step: the same for all mini-batches of a rollout batch, so that every hint
        # token of the batch weighs the same.
        batch.extra_info[HINT_TOKENS] = tokens / updates
        batch.extra_info[FAILED_ROWS] = sum(key in self._failed_rows for key in batch.keys) / updates
        return super()._update_actor(batch, metrics)

    # --- metrics, checkpoints ----------------------------------------------------------------------------------------

    def _validate(self) -> dict[str, float]:
        started = time.time()
        val_metrics = super()._validate()
        val_metrics.update(validation_accuracy(val_metrics))
        val_metrics["timing_s/validation"] = time.time() - started
        if self.global_steps == 0:
            self.records.log(0, val_metrics)
        return val_metrics

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], timing_raw: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, **kwargs)
        step = self.global_steps
        metrics.update(self._rollout_metrics(batch, step))
        self.records.log(step, metrics)
        if self._save_due:
            self._write_checkpoint(step, metrics.get("val/acc"))
        if self._failure is not None:
            raise self._failure
        self.records.phase("finished" if step >= self.total_training_steps else "rollout", step)

    def _rollout_metrics(self, batch: Any, step: int) -> dict[str, float]:
        """uft/* and reward/* of the step, in the batch's canonical order; logs the first rollouts on the way."""
        failed, tagged = self._failed_rows, zip(batch.keys, batch.tags, strict=True)
        keys = sorted(key for key, tag in tagged if key in failed or not tag.get("is_padding", False))
        fields = ["extra_fields", "rm_scores", "prompts", "responses"]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
        rows = [
            {"key": key, "uft": extra["uft"], "reward": extra.get("reward_extra_info", {}), "score": float(score.sum())}
            for key, extra, score in zip(keys, data["extra_fields"], data["rm_scores"].unbind(), strict=True)
        ]
        prompts, responses = ([row.tolist() for row in data[name].unbind()] for name in ("prompts", "responses"))
        count = self.config.uft.log_rollouts
        shown = len(rows) if count < 0 else count
        if shown:
            lines = rollout_lines(self.tokenizer, rows[:shown], prompts[:shown], responses[:shown])
            write_rollouts(self.run_dir.rollouts, step, lines)
        found = hint_metrics(
            [row["uft"] for row in rows], [None if row["key"] in failed else row["score"] for row in rows]
        )
        found.update(reward_metrics([row["reward"] for row in rows]))
        if (key := self._reward_watch.verdict(found)) is not None:
            bad = [number for number, row in enumerate(rows) if row["reward"].get(key)][:EXAMPLES]
            lines = rollout_lines(
                self.tokenizer, [rows[n] for n in bad], [prompts[n] for n in bad], [responses[n] for n in bad]
            )
            rate = found[f"reward/{key}_rate"]
            self._failure = failure(key, rate, step, lines, str(self.run_dir.rollouts))
        found["uft/rollout_digest"] = digest(responses)
        if self._algorithm.hint_probability is not None:
            found["uft/p_t"] = self._algorithm.hint_probability(step, self.config.uft.T_hint)
        return found

    def _save_checkpoint(self) -> None:
        # verl saves before the step's metrics are known; a kill in between would lose that step's line for good.
        # So the checkpoint is written after the line: see _compute_metrics.
        self._save_due = True

    def _write_checkpoint(self, step: int, accuracy: float | None) -> None:
        self.records.phase("saving")
        super()._save_checkpoint()
        self._save_due = False
        folder = self.run_dir.checkpoints / f"global_step_{step}"
        base, record = self.config.actor_rollout_ref.model.path, OmegaConf.to_container(self.config.uft.record)
        finish_export(folder / "actor", base, record)
        mark_complete(folder, step)
        self.run_dir.publish_weights(folder / "actor" / "huggingface", step, accuracy)
        keep_newest(self.run_dir.checkpoints, self.config.uft.keep_checkpoints)
