"""Entry point of an SFT stage: `python -m recipes.verl_plugin.sft_main FOLDER [OVERRIDES]`, or the same with torchrun
on several devices; uses verl's SFTTrainer.

Started by recipes/run/launch.py, which writes FOLDER/verl.yaml.
"""

import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torchdata.stateful_dataloader import StatefulDataLoader
from verl.trainer import sft_trainer
from verl.utils.device import auto_set_device
from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group
from verl.utils.tracking import Tracking
from verl.workers.utils.losses import sft_loss

from recipes.algorithms import find_shape
from recipes.algorithms.base import Shape
from recipes.common.records import Records
from recipes.common.run_dir import RunDir, read_metrics
from recipes.settings.early_stopping import HELD_OUT_LOSS, ended
from recipes.verl_plugin.compat import check_verl_version
from recipes.verl_plugin.compose import arguments, load_config
from recipes.verl_plugin.export import finish_export
from recipes.verl_plugin.verl_config import SUPERVISED


def shaped_loss(shape: Shape, config: Any, model_output: dict[str, Any], data: Any, dp_group: Any = None) -> Any:
    """verl's sft_loss with g(sg p) log p instead of log p: a mean over the solution tokens of the global batch."""
    log_probs = model_output["log_probs"]
    flat = log_probs.values() if log_probs.is_nested else log_probs
    weighed = shape(flat.detach().exp()) * flat
    if log_probs.is_nested:
        weighed = torch.nested.nested_tensor_from_jagged(weighed, log_probs.offsets())
    return sft_loss(config, {**model_output, "log_probs": weighed}, data, dp_group)


@dataclass
class Until:
    """The batches of a loader until a run is over, which is checked before every batch, once the previous one's step is
    recorded and saved."""

    loader: Any
    over: Callable[[int], bool]
    """Takes the number of batches drawn so far, over all epochs."""

    drawn: int = 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.over(self.drawn):
            return
        for batch in self.loader:
            self.drawn += 1
            yield batch
            if self.over(self.drawn):
                return


class UnifiedSFTTrainer(sft_trainer.SFTTrainer):
    """verl's SFT trainer with our records and atomic checkpoints."""

    train_dataloader: Any

    def _build_dataloader(self) -> None:
        batch, rows = self.config.data.train_batch_size, len(self.train_dataset)
        if rows < batch:
            raise ValueError(f"the train file has only {rows} usable rows, fewer than --batch_size {batch}")
        super()._build_dataloader()
        ranks = self.engine.get_data_parallel_size()
        if self.val_dataset is not None and len(self.val_dataset) < batch:
            # A test file may be smaller than a training batch.
            self.val_dataloader: StatefulDataLoader[Any] = StatefulDataLoader(
                self.val_dataset,
                batch_size=max(1, len(self.val_dataset) // ranks),
                sampler=self.val_sampler,
                collate_fn=self.collate_fn,
                num_workers=self.config.data.num_workers,
                drop_last=True,
            )
        self.train_sampler.seed = self.config.trainer.seed

    def _build_engine(self) -> None:
        super()._build_engine()
        if self.config.uft.shape:
            self.training_client.set_loss_fn(partial(shaped_loss, find_shape(self.config.uft.shape), None))

    def _build_ckpt_handler(self) -> None:
        super()._build_ckpt_handler()
        handler, run = self.ckpt_handler, RunDir(Path(self.config.uft.run_dir))
        save, load_data = handler.save_checkpoint, handler._load_dataloader_state

        def save_and_publish(step: int) -> None:
            save(step)
            if self.rank == 0:
                folder = run.checkpoints / f"global_step_{step}"
                uft = self.config.uft
                finish_export(folder, self.config.model.path, OmegaConf.to_container(uft.record), uft.hf_dtype)
                # The accuracy is unknown here: evaluation is a separate stage, so hf/best stays empty.
                keep = self.config.uft.keep_checkpoints
                run.checkpoint_written(folder, folder / "huggingface", step, accuracy=None, keep=keep)

        def load_data_unless_epoch_ended(path: str) -> None:
            # With the loader's state from the end of an epoch, the resumed epoch would be empty.
            if handler.resume_global_step % self.steps_per_epoch:
                load_data(path)

        handler.save_checkpoint = save_and_publish
        handler._load_dataloader_state = load_data_unless_epoch_ended

    def fit(self) -> None:
        run = RunDir(Path(self.config.uft.run_dir))
        records = Records(run.path, self.total_training_steps, self.config.trainer.test_freq)
        if self.rank == 0:
            records.resume_at(self.resume_global_step)
            records.phase("update", self.resume_global_step)

        class RecordedTracking(Tracking):
            """verl's loggers plus our records."""

            def log(self, data: dict[str, Any], step: int, backend: Any = None) -> None:
                super().log(data, step, backend)
                records.log(step, data)
                records.phase("update", step)

        patience = int(self.config.uft.early_stopping)

        def over(drawn: int) -> bool:
            step = self.resume_global_step + drawn
            if not patience or step % self.test_freq:
                return False
            # Every process reads the same lines: verl synchronises them after the validation is written.
            return ended(read_metrics(run.metrics), patience, HELD_OUT_LOSS, step)

        batches = Until(self.train_dataloader, over)
        sft_trainer.Tracking, self.train_dataloader = RecordedTracking, batches
        super().fit()
        step = self.resume_global_step + batches.drawn
        if batches.drawn and step < self.total_training_steps and step % self.save_freq:
            # verl did not know that this is its last step.
            self.ckpt_handler.save_checkpoint(step=step)
        if self.rank == 0:
            records.phase("finished", step)


def _single_process() -> None:
    """Set the variables that torchrun would set for a single process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", **address})


def main() -> None:
    """Run one SFT stage to its end."""
    if "RANK" not in os.environ:
        _single_process()
    faulthandler.register(signal.SIGUSR1, file=sys.stderr)
    check_verl_version()
    folder, overrides = arguments()
    config = load_config(SUPERVISED, folder, overrides)
    auto_set_device(config)
    initialize_global_process_group()
    torch.manual_seed(config.trainer.seed)
    UnifiedSFTTrainer(config=config).fit()
    destroy_global_process_group()


if __name__ == "__main__":
    main()
