"""--reproduce: the runs of published tables are ones run.py can make, in their settings, with figures beside them."""

from pathlib import Path
from typing import Any

import pytest

import run
from recipes.commands.reproduce import TableRun, final, listing, reproduce, runs_of
from recipes.commands.train import plan_training
from recipes.common.errors import ExperimentError
from recipes.estimate.gpu_hours import gpu_hours
from recipes.estimate.model_shapes import known_shape
from recipes.estimate.step_time import estimate_time
from recipes.flags.effect import refuse_without_effect
from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.presets import TABLES
from recipes.settings.profiles import PROFILES


def flags(*words: str) -> dict[str, Any]:
    """What run.py hands on."""
    found = vars(run.parser().parse_args(list(words)))
    for name in ("visible_devices", "eval", "sweep", "reproduce"):
        found.pop(name)
    return found


def runs(table: str, *words: str) -> list[TableRun]:
    return runs_of(table, flags(*words))[1]


def experiments(table: str, *words: str) -> dict[str, Experiment]:
    return {each.planned.name: each.planned.experiment for each in runs(table, *words)}


@pytest.mark.parametrize("table", TABLES)
def test_every_command_parses_and_means_the_listed_run(table: str) -> None:
    for each in runs(table):
        own = each.planned.arguments()
        _, experiment = plan_training(flags(*own))
        assert experiment == each.planned.experiment
        refuse_without_effect(each.planned.flags, [experiment])
        # The study has a part for two cores; published tables are of GPUs.
        assert experiment.device == ("cpu" if table == "study" else "cuda")


def test_the_uft_table_is_five_models_on_three_tasks_with_five_algorithms() -> None:
    found = experiments("uft_table")
    assert len(found) == 75
    assert {(e.algo, e.data) for e in found.values()} == {
        (algo, data) for algo in ("sft", "rft", "sft_rft", "r3", "uft") for data in ("countdown", "math", "kk_logic")
    }
    for e in found.values():
        assert (e.T, e.T_hint, e.n_rollout, e.batch_size, e.mini_batch_size) == (500, 300, 4, 256, 64)
        assert (e.lr, e.sft_lr, e.sft_epochs, e.kl_coef, e.lora_rank) == (1e-6, 1e-5, 5, 0.001, 0)
        assert e.n_gpu == (4 if e.model.endswith("3B") else 2)
    assert {e.sft_loss_coef for e in found.values() if e.algo == "uft"} == {0.001}


def test_every_uft_run_of_a_qwen_has_its_published_accuracy_beside_it() -> None:
    for name, experiment in experiments("uft_table").items():
        assert bool(final(experiment)) == ("Qwen" in name), name
    shown = listing("uft_table", runs("uft_table", "--algo", "uft,rft", "--data", "countdown"))
    line = next(line for line in shown.splitlines() if "rft-countdown-Qwen2.5-0.5B" in line)
    assert line.endswith("23.5% ±0.5%")
    # Its row of table 2.
    assert any(
        line.split() == ["Qwen2.5-0.5B", "uft", "13.18", "0", "6.83", "17.15", "4.87", "5.4", "5.76", "2.77", "24.59"]
        for line in shown.splitlines()
    )
    assert "an estimate, not a measurement" in shown


def test_another_setting_has_no_published_accuracy_beside_it() -> None:
    chosen = ("--algo", "uft", "--data", "countdown", "--model", "Qwen/Qwen2.5-0.5B")
    (plain,) = experiments("uft_table", *chosen).values()
    (other,) = experiments("uft_table", *chosen, "--lr", "2e-6").values()
    assert final(plain)
    assert other.lr == 2e-6
    assert not final(other)


def test_una_runs_have_the_papers_settings() -> None:
    found = {each.row: each.planned.experiment for each in runs("una_table")}
    beta_and_lr = {row: (e.alignment.beta, e.alignment.lr) for row, e in found.items()}
    assert beta_and_lr == {
        "dpo": (0.03, 5e-6),
        "kto": (0.03, 5e-6),
        "una_binary_mse": (0.01, 5e-6),
        "una_binary_bce": (0.01, 5e-6),
        "una_score": (0.03, 3e-5),
    }
    feedback = {row: (e.alignment.feedback, e.alignment.una_loss) for row, e in found.items() if e.algo == "una"}
    assert feedback == {
        "una_binary_mse": ("binary", "mse"),
        "una_binary_bce": ("binary", "bce"),
        "una_score": ("score", "mse"),
    }
    for e in found.values():
        assert (e.lora_rank, e.alignment.lora_alpha, e.alignment.lora_dropout) == (32, 16, 0.05)
        assert (e.alignment.epochs, e.alignment.batch_size, e.alignment.max_length) == (2, 8, 2048)


def test_wangs_rows_are_told_apart_by_what_they_were_trained_on() -> None:
    shown = [line.split() for line in listing("wang_uft_table", runs("wang_uft_table")).splitlines()]
    assert ["Mistral-7B-v0.1", "sft", "29.87", "63.17", "6.33", "8.07"] in shown
    assert ["Mistral-7B-v0.1", "una_sft", "32.81", "64.34", "6.78", "8.28"] in shown
    mixed = next(e for e in experiments("wang_uft_table").values() if e.algo == "una_sft")
    assert (mixed.alignment.beta, mixed.alignment.lr, mixed.alignment.sft_ratio, mixed.lora_rank) == (
        0.01,
        3e-5,
        1.0,
        16,
    )


def test_choosing_and_seeds() -> None:
    chosen = experiments(
        "uft_table", "--algo", "uft,r3", "--data", "math", "--model", "Qwen/Qwen2.5-3B", "--seeds", "1,2"
    )
    assert list(chosen) == [f"{algo}-math-Qwen2.5-3B-s{seed}" for seed in (1, 2) for algo in ("r3", "uft")]
    assert len(runs("una_table", "--algo", "una")) == 3
    assert {e.n_gpu for e in experiments("uft_table", "--profile", "1x80gb").values()} == {1}


@pytest.mark.parametrize(
    ("table", "words", "message"),
    [
        ("uft_tabel", (), "--reproduce uft_tabel: unknown; did you mean 'uft_table'"),
        ("uft_table", ("--algo", "stage"), "--algo stage: not in uft_table.* It has sft, rft"),
        ("uft_table", ("--model", "Qwen/Qwen2.5-7B"), "--model Qwen/Qwen2.5-7B: not in uft_table"),
        ("wang_uft_table", ("--algo", "sft", "--data", "helpsteer2"), "no run has this combination"),
        ("uft_table", ("--profile", "h200"), "--profile h200: unknown"),
    ],
)
def test_mistakes_are_named(table: str, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=message):
        reproduce(table, flags(*words, "--out", str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_gpu_hours_follow_from_their_formula() -> None:
    e = build_experiment(
        {"algo": "rft", "data": "countdown", "model": "Qwen/Qwen2.5-0.5B", "test_freq": 25}, PROFILES["h100x2"]
    )
    shape = known_shape(e.model)
    assert shape is not None
    step = estimate_time(e, shape)
    # 21 validations of 1,024 problems beside 256 x 4 rollouts per step.
    by_hand = 2 * (500 * (step.generate + step.log_probs + step.update + 10) + 21 * step.generate + 180) / 3600
    assert gpu_hours(e, {}) == pytest.approx(by_hand)
    assert 3 < by_hand < 10


def test_gpu_hours_of_supervised_stages_follow_from_their_tokens() -> None:
    e = build_experiment({"algo": "sft", "data": "countdown", "model": "Qwen/Qwen2.5-0.5B"}, PROFILES["h100x2"])
    shape = known_shape(e.model)
    assert shape is not None
    assert shape.parameters == pytest.approx(0.5e9, rel=0.05)
    tokens = e.sft_epochs * e.data_options["n_train"] * (e.max_prompt_length + e.max_hint_length) / 2
    by_hand = (tokens * 6 * shape.parameters / (0.4 * 1e15) + 2 * 180) / 3600
    assert gpu_hours(e, {}) == pytest.approx(by_hand)


def test_gpu_hours_of_an_unknown_size_are_refused() -> None:
    e = build_experiment({"algo": "rft", "data": "countdown", "model": "owner/name"}, PROFILES["h100x2"])
    with pytest.raises(ValueError, match="unknown number of parameters"):
        gpu_hours(e, {})


def test_runs_on_cpus_have_no_gpu_hours() -> None:
    of_two = runs("study", "--algo", "uft,dft")
    shown = listing("study", of_two)
    assert "GPU" not in shown
    assert f"{len(of_two)} runs on CPUs" in shown
    assert "runs, about" in listing("study_h100", runs("study_h100", "--algo", "uft,dft"))
