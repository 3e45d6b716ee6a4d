"""verl's V1 trainer with our loss, records and atomic checkpoints.

Only documented hooks and the methods of a step are overridden; each calls the original.
"""

import time
from dataclasses import fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass

import recipes.verl_plugin.advantage  # noqa: F401  (registers the estimator in the driver, where advantages are computed)
from data_prep.schema import solution_of
from recipes.algorithms import get_algorithm
from recipes.algorithms.base import forget
from recipes.algorithms.hints.cut import memory_key
from recipes.common.records import Records
from recipes.common.run_dir import RunDir, read_metrics, write_json
from recipes.settings.early_stopping import ACCURACY, ended
from recipes.verl_plugin.actor_loss import FAILED_ROWS, TERMS, actor_loss, critic_loss, row_loss
from recipes.verl_plugin.agent_loop import hook_settings, prompt_key, rows_of
from recipes.verl_plugin.dynamic_sampling import VariedGroups
from recipes.verl_plugin.export import finish_export
from recipes.verl_plugin.failed_rows import mask_failed, reports_of, without_failed
from recipes.verl_plugin.memory import MEMORY, recalled, update
from recipes.verl_plugin.metrics import rollout_metrics, without_gradient
from recipes.verl_plugin.mismatch import mismatch, refuse_stale
from recipes.verl_plugin.passes import Encoder, rescore, second_update
from recipes.verl_plugin.penalty import with_penalty
from recipes.verl_plugin.reliance import reliance
from recipes.verl_plugin.reward_signal import moved_by_reward
from recipes.verl_plugin.reward_watch import EXAMPLES, RewardFailure, RewardLimits, RewardWatch, failure, nothing_scored
from recipes.verl_plugin.rollout_log import StepRollouts, digest, write_rollouts
from recipes.verl_plugin.skipped import report_skipped
from recipes.verl_plugin.validation import (
    SEEN,
    cut_off,
    parted,
    sampled_and_greedy,
    validation_accuracy,
    without_truncated,
)
from recipes.verl_plugin.verl_config import POLL_SECONDS
from recipes.verl_plugin.weighing import read_groups, restore_masks, token_mean, weigh
from recipes.watch.heartbeat import NOTICE

PROBLEM = ("raw_prompt", "hint", "answer")
"""Columns of the data that an algorithm may read once rollouts are scored."""


class UnifiedTrainer(PPOTrainerSync):
    """verl's synchronous trainer with one algorithm of the family (section `uft` of the configuration)."""

    total_training_steps: int
    """verl's; if set to the current step, the loop ends after it."""

    def on_init_end(self) -> None:
        settings = self.config.uft
        self.run_dir = RunDir(Path(settings.run_dir))
        self.records = Records(self.run_dir.path, self.total_training_steps, self.config.trainer.test_freq)
        # Without a checkpoint, the validation of step 0 is repeated and its old line removed.
        self.records.resume_at(self.global_steps or -1)
        self.replay_buffer.poll_interval = POLL_SECONDS
        self._fetched = (-1, 0)
        self._problems: dict[str, dict[str, Any]] = {}
        self._by_key: dict[str, int] | None = None
        self._failure: RewardFailure | None = None
        self._save_due = False
        self._patience = int(settings.early_stopping)
        self._algorithm, self._settings = get_algorithm(settings.algorithm), hook_settings(settings)
        self._corrected = self.config.algorithm.rollout_correction.rollout_is is not None
        self._watches_mismatch = not self._corrected and self._algorithm.loss is None
        self.memory = recalled(self.config.trainer.resume_from_path)
        self._reward_watch = RewardWatch(RewardLimits(**{f.name: settings[f.name] for f in fields(RewardLimits)}))
        self.actor_rollout_wg.set_loss_fn(self._loss())
        if self.use_critic:
            self.critic_wg.set_loss_fn(partial(critic_loss, omega_conf_to_dataclass(self.config.critic)))
        report_skipped(self.config.data, self.train_dataset, self.val_dataset)
        super().on_init_end()

    # --- heartbeat -------------------------------------------------------------------------------------------------

    def on_step_begin(self) -> None:
        self._failed_rows: set[str] = set()
        self._demonstrations: set[str] = set()
        self.records.phase("rollout", self.global_steps - 1)
        super().on_step_begin()

    def on_sample_end(self) -> None:
        super().on_sample_end()
        self.records.phase("old_log_prob")

    def on_validate_begin(self) -> None:
        # The validated step counts as finished only with its line of metrics, which follows.
        self.records.phase("validating", max(0, self.global_steps - 1))
        super().on_validate_begin()

    # --- an order of rollouts that does not depend on which finish first ---------------------------------------------

    def _fetch_one_gen_batch(self) -> TensorDict:
        if self._fetched[0] != self.global_steps:
            self._fetched, self._problems, self._drawn = (self.global_steps, 0), {}, set[str]()
        batch = self._next_batch()
        step, first = self._fetched
        self._fetched = (step, first + len(batch))
        # With verl's random uids a batch would be ordered differently in every run, changing its floating-point sums.
        # (No "_": verl splits keys at it.)
        uids = [f"{step:07d}-{first + row:06d}" for row in range(len(batch))]
        tu.assign_non_tensor_stack(batch, "uid", uids)
        self._problems |= dict(zip(uids, rows_of(batch, PROBLEM), strict=True))
        return batch

    def _next_batch(self) -> TensorDict:
        batch = super()._fetch_one_gen_batch()
        if not self.config.uft.dynamic_sampling:
            return batch
        # One prompt at a time, wrapping around at the end of the data: drawn twice, one would repeat its rollouts.
        for _ in range(len(self.train_dataset)):
            key = prompt_key(rows_of(batch, ("raw_prompt", "extra_info"))[0])
            if key not in self._drawn:
                break
            batch = super()._fetch_one_gen_batch()
        self._drawn.add(key)
        return batch

    def _add_prompts_to_generate(self, num_prompts: int) -> int:
        """Draw replacements; fewer if the step has already drawn nearly all of the data."""
        self.records.phase("rollout", self.global_steps - 1)
        left = min(num_prompts, len(self.train_dataset) - self._fetched[1])
        return super()._add_prompts_to_generate(left) if left > 0 else 0

    def _balance_batch(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        batch.reorder(sorted(range(len(batch)), key=lambda row: batch.keys[row]))
        failed, demonstrations = mask_failed(batch)
        self._failed_rows |= failed
        self._demonstrations |= demonstrations
        if len(failed) + len(demonstrations) == len(batch):
            # verl cannot update on a batch without tokens, whatever the limits on failures.
            self._rollout_metrics(batch, self.global_steps)
            raise self._failure or RewardFailure(nothing_scored(self.global_steps, reports_of(batch, sorted(failed))))
        return super()._balance_batch(batch, *args, **kwargs)

    # --- loss ------------------------------------------------------------------------------------------------------

    def _loss(self) -> partial[Any]:
        if self._algorithm.loss is not None:
            return partial(row_loss, self.config.uft.algorithm, self._settings)
        return partial(actor_loss, omega_conf_to_dataclass(self.config.actor_rollout_ref.actor))

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = super()._compute_old_log_prob(batch, metrics)
        # verl aggregates this metric like the loss: divided by a constant length, it would not be comparable.
        if "actor/entropy" in metrics and self.config.actor_rollout_ref.actor.loss_agg_mode != "token-mean":
            metrics["actor/entropy"] = token_mean(batch, "entropy")
        return batch

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        settings, compute = self.config.uft, partial(super()._compute_advantage, metrics=metrics)
        if settings.overlong_buffer:
            lengths = {"longest": settings.max_new_tokens, "buffer": settings.overlong_buffer}
            compute = partial(with_penalty, compute, metrics, factor=settings.overlong_penalty, **lengths)
        return without_failed(batch, self._failed_rows, compute)

    def _update_critic(self, batch: Any, metrics: dict[str, Any]) -> Any:
        updates = self._updates(batch, self.config.critic.ppo_mini_batch_size)
        batch.extra_info[FAILED_ROWS] = sum(key in self._failed_rows for key in batch.keys) / updates
        return super()._update_critic(batch, metrics)

    def _updates(self, batch: Any, mini_batch_size: int) -> int:
        """Optimiser steps on a batch; mini-batch sizes are in prompts."""
        return max(1, len(batch) // (mini_batch_size * self.config.actor_rollout_ref.rollout.n))

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self.records.phase("update")
        settings, size = self.config.uft, self.config.actor_rollout_ref.actor.ppo_mini_batch_size
        updates = self._updates(batch, size)
        failed = sum(key in self._failed_rows for key in batch.keys) / updates
        batch.extra_info[FAILED_ROWS] = failed
        rows, groups = read_groups(
            batch,
            failed=self._failed_rows,
            demonstrations=self._demonstrations,
            step=self.global_steps,
            reference=self.use_reference_policy,
            shaped=self.config.algorithm.use_kl_in_reward or settings.overlong_buffer > 0,
            problems=self._problems,
            text=self._encoder.text if self._algorithm.context is not None else None,
        )
        if self._algorithm.context is not None:
            groups, found = rescore(self._algorithm, self._settings, batch, rows, groups, **self._passes)
            metrics.update(found)
        if self._algorithm.uses_hints and self._is_validated(self.global_steps):
            metrics.update(reliance(batch, rows, groups, ranks=self._ranks, **self._passes))
        batch.extra_info[TERMS] = "[]"
        if self._algorithm.loss is not None:
            batch = super()._update_actor(batch, metrics)
        else:
            votes = max(size * self.config.actor_rollout_ref.rollout.n - failed, 1.0)
            weighed = weigh(
                self._algorithm, settings.algorithm, self._settings, batch, rows, groups, updates=updates, votes=votes
            )
            moved = moved_by_reward(weighed.batch, weighed.rewarded)
            silent = without_gradient(moved, updates=updates, ranks=self._ranks)
            metrics["uft/updates_without_reward_gradient"] = silent
            batch = super()._update_actor(weighed.batch, metrics)
            metrics.update(weighed.metrics)
            restore_masks(batch, weighed.masks)
        due = update(self.memory, self._algorithm, groups, self._settings)
        known = self._algorithm.memory_metrics(self.memory["past"], self.memory["common"], self._settings)
        metrics.update({f"uft/{name}": value for name, value in known.items()})
        if due:
            metrics.update(self._learn(due))
        return batch

    # --- additional passes -------------------------------------------------------------------------------------------

    def _learn(self, due: list[str]) -> dict[str, float]:
        """One supervised update on the solutions of these prompts, given by their keys in the algorithm's memory."""
        if self._by_key is None:
            known = (self.train_dataset[place] for place in range(len(self.train_dataset)))
            self._by_key = {memory_key(prompt_key(row)): place for place, row in enumerate(known)}
        problems = [self.train_dataset[self._by_key[key]] for key in due]
        return second_update(
            [(row["raw_prompt"], solution_of(row)) for row in problems],
            ranks=self._ranks,
            step=self.global_steps,
            **self._passes,
        )

    @cached_property
    def _encoder(self) -> Encoder:
        template: Any = OmegaConf.to_container(self.config.data.apply_chat_template_kwargs)
        return Encoder(self.tokenizer, template)

    @property
    def _passes(self) -> dict[str, Any]:
        """Arguments of every additional pass (passes.py). A sequence may have at most a micro-batch's tokens."""
        config = self.config.actor_rollout_ref
        return {
            "workers": self.actor_rollout_wg,
            "encoder": self._encoder,
            "temperature": config.rollout.temperature,
            "longest": int(config.actor.ppo_max_token_len_per_gpu),
        }

    @property
    def _ranks(self) -> int:
        """Data-parallel ranks of the actor."""
        return int(max(self.actor_rollout_wg._dispatch_info["actor"])) + 1

    def _is_validated(self, step: int) -> bool:
        """Whether verl validates after this step."""
        every = self.config.trainer.test_freq
        return every > 0 and (step % every == 0 or step >= self.total_training_steps)

    # --- metrics, checkpoints ----------------------------------------------------------------------------------------

    def _validate(self) -> dict[str, float]:
        started = time.time()
        val_metrics = super()._validate()
        val_metrics["timing_s/validation"] = time.time() - started
        if self.global_steps == 0:
            self.records.log(0, val_metrics)
            if (line := cut_off(val_metrics, self.config.uft.max_new_tokens)) is not None:
                print(f"{NOTICE}{line}", flush=True)
        return val_metrics

    def _val_metrics_update(self, sources: Any, uids: Any, infos: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        asked = kwargs.get("expected_acc_counts") or {}
        infos, truncated = without_truncated(infos)
        if not self.config.uft.val_samples:
            found: dict[str, float] = super()._val_metrics_update(sources, uids, infos, *args, **kwargs)
            return found | validation_accuracy(sources, uids, infos, asked) | truncated
        return sampled_and_greedy(sources, uids, infos, asked) | truncated

    def _dump_generations(
        self, inputs: Any, outputs: Any, gts: Any, scores: Any, reward_extra_infos_dict: Any, dump_path: Any
    ) -> None:
        # For a user's own agent loop only verl's copy is known.
        seen = reward_extra_infos_dict.pop(SEEN, inputs)
        inputs = [own if prompt is None else prompt for own, prompt in zip(inputs, seen, strict=True)]
        parts = parted(reward_extra_infos_dict, inputs=inputs, outputs=outputs, gts=gts, scores=scores)
        for part, folder in zip(parts, (Path(dump_path), Path(dump_path) / "greedy"), strict=True):
            if part["inputs"]:
                infos = part.pop("infos")
                super()._dump_generations(**part, reward_extra_infos_dict=infos, dump_path=str(folder))

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], timing_raw: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, **kwargs)
        step = self.global_steps
        if not self._corrected:
            refuse_stale(metrics)
        if self._watches_mismatch and (line := mismatch(metrics)) is not None:
            print(f"{NOTICE}{line}", flush=True)
            self._watches_mismatch = False
        metrics.update(self._rollout_metrics(batch, step))
        self.records.log(step, metrics)
        if "val/acc" in metrics and ended(read_metrics(self.run_dir.metrics), self._patience, ACCURACY):
            # verl does not know that this is the last step, and has not requested a checkpoint.
            self.total_training_steps, self._save_due = step, True
        if self._save_due:
            self._write_checkpoint(step, metrics.get("val/acc"))
        if self._failure is not None:
            raise self._failure
        self.records.phase("finished" if step >= self.total_training_steps else "rollout", step)

    def _rollout_metrics(self, batch: Any, step: int) -> dict[str, float]:
        """uft/* and reward/* of the step, in the batch's canonical order; also logs the first rollouts."""
        found = StepRollouts.of(batch, self._failed_rows, self._demonstrations)
        count = self.config.uft.log_rollouts
        if lines := found.lines(self.tokenizer, range(len(found.rows) if count < 0 else min(count, len(found.rows)))):
            write_rollouts(self.run_dir.rollouts, step, lines)
        thrown = self.replay_buffer.thrown if isinstance(self.replay_buffer, VariedGroups) else ()
        metrics = rollout_metrics([*found.drawn, *thrown])
        if self._algorithm.demonstrations:
            metrics["uft/demonstrations"] = len(self._demonstrations)
            metrics["uft/no_demonstration"] = sum(row["uft"].get("no_demonstration", 0) for row in found.rows)
        if (key := self._reward_watch.verdict(metrics)) is not None:
            bad = [number for number, row in enumerate(found.rows) if row["reward"].get(key)][:EXAMPLES]
            examples, where = found.lines(self.tokenizer, bad), str(self.run_dir.rollouts)
            self._failure = failure(key, metrics[f"reward/{key}_rate"], step, examples, where)
        metrics["uft/rollout_digest"] = digest(found.responses)
        metrics.update({f"uft/{name}": value for name, value in self._algorithm.metrics(step, self._settings).items()})
        return metrics

    def _save_checkpoint(self) -> None:
        # verl saves before the step's metrics are known; a kill in between would lose that step's line forever, so the
        # checkpoint is written after the line: see _compute_metrics.
        self._save_due = True

    def _write_checkpoint(self, step: int, accuracy: float | None) -> None:
        self.records.phase("saving", step)
        super()._save_checkpoint()
        self._save_due = False
        folder = self.run_dir.checkpoints / f"global_step_{step}"
        base, record = self.config.actor_rollout_ref.model.path, OmegaConf.to_container(self.config.uft.record)
        finish_export(folder / "actor", base, record, self.config.uft.hf_dtype)
        if self._algorithm.remember is not forget:
            write_json(folder / MEMORY, self.memory)
        weights = folder / "actor" / "huggingface"
        self.run_dir.checkpoint_written(folder, weights, step, accuracy, self.config.uft.keep_checkpoints)
