"""Holds us to TRL 1.12.0: the hooks we override exist, and our losses are TRL's where they should be."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from recipes.algorithms.losses.implicit_reward import completion_log_probs, implicit_reward, pairwise_loss
from recipes.common.run_dir import RunDir
from recipes.trl_plugin.arguments import trainer_config
from recipes.trl_plugin.batches import Batches, collator
from recipes.trl_plugin.compat import check_trl_version
from recipes.trl_plugin.main import build_trainer
from recipes.trl_plugin.plan import TrainingPlan
from recipes.trl_plugin.rows import encoder, load_training, run_order
from recipes.verl_plugin.sft_dataset import encode_solution
from tests.e2e.support import tiny_model
from tests.helpers.alignment_checks import BATCH, plan

pytestmark = pytest.mark.contract

BETA = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trl")
    tiny_model(made / "model")
    return made


def rows_of(settings: TrainingPlan) -> list[dict[str, Any]]:
    return load_training(settings, encoder(settings, AutoTokenizer.from_pretrained(settings.model))).rows


def test_installed_trl_is_the_tested_one() -> None:
    check_trl_version()


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (SFTTrainer, "_prepare_dataset", {"dataset"}),
        (DPOTrainer, "_prepare_dataset", {"dataset"}),
        (KTOTrainer, "_prepare_dataset", {"dataset"}),
        (DPOTrainer, "_precompute_ref_logps", {"dataset"}),
        (KTOTrainer, "_precompute_ref_logps", {"dataset"}),
        (KTOTrainer, "_compute_kl_logps", {"model", "batch"}),
        (KTOTrainer, "_compute_loss", {"model", "inputs", "return_outputs"}),
        (KTOTrainer, "create_model_card", set()),
        (KTOTrainer, "_send_telemetry", set()),
        (Trainer, "_save_checkpoint", {"model", "trial"}),
        (Trainer, "get_batch_samples", {"epoch_iterator", "num_batches"}),
        (Trainer, "compute_loss", {"model", "inputs", "return_outputs", "num_items_in_batch"}),
    ],
)
def test_hook_is_there(owner: type, name: str, parameters: set[str]) -> None:
    assert parameters <= set(inspect.signature(getattr(owner, name)).parameters)


class PlainDPO(DPOTrainer):
    """TRL's trainer, given tokenised rows."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _send_telemetry(self) -> None:
        pass


class PlainKTO(KTOTrainer):
    """TRL's trainer, given tokenised rows."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _send_telemetry(self) -> None:
        pass


def models(folder: Path) -> tuple[Any, Any]:
    """A policy, and the reference it was moved away from."""
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32) for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return policy, reference


def settings_of_trl(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "plain"),
        "per_device_train_batch_size": BATCH,
        "beta": BETA,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "max_length": None,
        "gradient_checkpointing": False,
    }


def gradient(model: Any) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_una_on_pairs_is_the_sigmoid_loss_of_trl(folder: Path) -> None:
    rows = rows_of(plan(folder, folder / "model", "dpo"))[:BATCH]
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    policy, reference = models(folder)
    trainer = PlainDPO(
        model=policy,
        ref_model=reference,
        args=DPOConfig(**settings_of_trl(folder), loss_type=["sigmoid"]),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)(rows)
    theirs = trainer.compute_loss(trainer.model, dict(batch))
    theirs.backward()
    expected = gradient(policy).clone()
    policy.zero_grad()

    def log_probs(model: Any) -> torch.Tensor:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return completion_log_probs(logits, batch["input_ids"], batch["completion_mask"])

    with torch.no_grad():
        fixed = log_probs(reference)
    chosen, rejected = implicit_reward(log_probs(policy), fixed, BETA).chunk(2)
    ours = pairwise_loss(chosen, rejected, total_pairs=BATCH)
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    assert (gradient(policy) - expected).norm() / expected.norm() < 1e-6


def test_kl_term_of_a_step_is_that_of_trl_in_one_micro_batch(folder: Path) -> None:
    settings = plan(folder, folder / "model", "kto", alignment={"beta": BETA})
    rows = rows_of(settings)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    order = run_order(len(rows), BATCH, 0)
    policy, reference = models(folder)
    policy.train()
    trainer = PlainKTO(
        model=policy,
        ref_model=reference,
        args=KTOConfig(**settings_of_trl(folder), loss_type="kto"),
        train_dataset=Dataset.from_list([{"label": True}]),
        processing_class=tokenizer,
    )
    step = [rows[row] for row in order]
    mates = [step[number - 1]["completion_ids"] for number in range(BATCH)]
    examples = [{**row, "KL_completion_ids": mate} for row, mate in zip(step, mates, strict=True)]
    collate = DataCollatorForUnpairedPreference(pad_token_id=tokenizer.pad_token_id)
    theirs = trainer.compute_loss(trainer.model, collate(examples))
    theirs.backward()

    ours = build_trainer(settings, rows, order, tokenizer)
    ours.model.load_state_dict(policy.state_dict())
    positions = [[0, 1, 2], [3], [4, 5, 6, 7]]
    batches, _ = ours.get_batch_samples(iter([ours.batches.at(part) for part in positions]), 3, torch.device("cpu"))
    parts = [
        ours.compute_loss(ours.model, batch) * len(at) / BATCH for batch, at in zip(batches, positions, strict=True)
    ]
    total = torch.stack(parts).sum()
    total.backward()
    assert trainer._metrics["train"]["kl"][0] > 0, "clamped at 0, so that nothing is compared"
    assert total.item() == pytest.approx(theirs.item(), abs=1e-6)
    assert (gradient(ours.model) - gradient(policy)).norm() / gradient(policy).norm() < 1e-5


def test_ktos_weights_multiply_the_losses_of_good_and_bad_answers(folder: Path) -> None:
    """A policy that is its reference has r = z = 0, and every answer the loss 1 - sigmoid(0) = .5."""
    weights = {"desirable_weight": 2.0, "undesirable_weight": 0.5}
    settings = plan(folder, folder / "model", "kto", alignment={"beta": BETA, **weights})
    rows = rows_of(settings)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    order = run_order(len(rows), BATCH, 0)
    trainer = build_trainer(settings, rows, order, tokenizer)
    trainer.model.eval()
    (batch,), _ = trainer.get_batch_samples(iter([trainer.batches.at(list(range(BATCH)))]), 1, torch.device("cpu"))
    good = sum(bool(rows[row]["label"]) for row in order[:BATCH])
    assert 0 < good < BATCH
    expected = (2.0 * 0.5 * good + 0.5 * 0.5 * (BATCH - good)) / BATCH
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(expected, abs=1e-5)


def test_mismatched_completions_stay_in_their_step(folder: Path) -> None:
    rows = [{"prompt_ids": [9], "completion_ids": [number], "label": True} for number in range(6)]
    settings = plan(folder, folder / "model", "kto")
    batches = Batches(rows, [3, 1, 4, 0, 5, 2], collator(settings, 0), step_rows=3, mismatched=True)
    assert batches.at([0, 1, 2])["KL_input_ids"][:, 1].tolist() == [4, 3, 1]
    assert batches.at([5])["KL_input_ids"][:, 1].tolist() == [5]
    assert batches.at([3])["KL_input_ids"][:, 1].tolist() == [2]


def test_tokens_are_those_of_a_rollout_and_of_the_supervised_stage(folder: Path) -> None:
    settings = plan(folder, folder / "model", "una")
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    prompt = [{"role": "user", "content": "Using 3 and 4, make 7. "}]
    found = encoder(settings, tokenizer)(prompt, "3 + 4 = 7")
    assert found == encode_solution(tokenizer, prompt, "3 + 4 = 7")
    assert found[1][-1] == tokenizer.eos_token_id


def test_dropout_of_the_adapter_is_what_was_asked_for(folder: Path) -> None:
    settings = plan(folder, folder / "model", "una", lora_rank=4, alignment={"lora_dropout": 0.25})
    rows = rows_of(settings)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    trainer = build_trainer(settings, rows, run_order(len(rows), BATCH, 0), tokenizer)
    found = {
        module.p
        for name, module in trainer.model.named_modules()
        if isinstance(module, torch.nn.Dropout) and ".lora_dropout." in name
    }
    assert found == {0.25}


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_the_flags_of_the_optimiser_reach_trls_configuration(method: str, tmp_path: Path) -> None:
    own = {"warmup_ratio": 0.25, "lr_schedule": "linear", "weight_decay": 0.1, "max_grad_norm": 0.5}
    usual = trainer_config(plan(tmp_path, Path("model"), method), RunDir(tmp_path / "run"), 40)
    given = trainer_config(plan(tmp_path, Path("model"), method, alignment=own), RunDir(tmp_path / "run"), 40)
    names = ("warmup_steps", "lr_scheduler_type", "weight_decay", "max_grad_norm")
    assert tuple(getattr(usual, name) for name in names) == (4, "cosine", 0.0, 1.0)
    assert tuple(getattr(given, name) for name in names) == (10, "linear", 0.1, 0.5)
