"""From flags to a validated run: defaults, what is refused and how it is said, and that saving loses nothing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.__main__ import main as data_prep
from data_prep.countdown import generate as countdown
from recipes.algorithms import algorithms
from recipes.checks.experiment_check import refuse_training
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment, default_profile
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES, Profile, detect_profile
from recipes.settings.saved import from_yaml, to_yaml
from tests import ROOT

H100 = PROFILES["h100x2"]


def build(**flags: Any) -> Experiment:
    return build_experiment({"model": "Qwen/Qwen2.5-0.5B", **flags}, H100)


@pytest.mark.parametrize(
    ("flags", "profile", "says"),
    [
        ({"algo": "rft", "lora_rank": 8}, H100, "--algo rft on countdown cannot hold its weights in 4 bits"),
        ({"algo": "sft", "lora_rank": 8}, H100, "--algo sft on countdown cannot"),
        ({"algo": "dpo", "data": "countdown_preference", "lora_rank": 8}, PROFILES["cpu"], "needs a GPU"),
        ({"algo": "dpo", "data": "countdown_preference"}, H100, "add --lora_rank 32"),
    ],
)
def test_four_bits_are_for_alignment_on_a_gpu_with_an_adapter(
    flags: dict[str, Any], profile: Profile, says: str
) -> None:
    with pytest.raises(ExperimentError, match=says):
        build_experiment({"model": "Qwen/Qwen2.5-0.5B", "load_in_4bit": True, **flags}, profile)
    with pytest.raises(ExperimentError, match=says.replace("4 bits", "8 bits")):
        build_experiment({"model": "Qwen/Qwen2.5-0.5B", "load_in_8bit": True, **flags}, profile)


def test_weights_are_held_in_4_or_in_8_bits() -> None:
    flags = {"model": "Qwen/Qwen2.5-0.5B", "algo": "dpo", "data": "countdown_preference", "lora_rank": 8}
    assert [build_experiment({**flags, **bits}, H100).alignment.bits for bits in ({}, {"load_in_8bit": True})] == [0, 8]
    with pytest.raises(ExperimentError, match="--load_in_4bit with --load_in_8bit"):
        build_experiment({**flags, "load_in_4bit": True, "load_in_8bit": True}, H100)


def test_defaults_are_those_of_the_uft_paper() -> None:
    e = build(algo="uft", data="countdown")
    assert (e.T, e.T_hint, e.batch_size, e.mini_batch_size, e.n_rollout) == (500, 300, 256, 64, 4)
    assert (e.lr, e.kl_coef, e.entropy_coef, e.clip_ratio, e.sft_loss_coef) == (1e-6, 0.001, 0.001, 0.2, 0.001)
    assert (e.max_prompt_length, e.max_response_length, e.temperature, e.test_freq) == (256, 1024, 1.0, 25)
    assert (e.sft_epochs, e.sft_lr) == (5, 1e-5)


def test_room_for_the_hint_is_added_only_where_hints_are_used() -> None:
    assert build(algo="uft").response_length == 1024 + 256
    assert build(algo="rft").response_length == 1024


@pytest.mark.parametrize(("algo", "coef"), [("uft", 0.001), ("stage", 0.001), ("r3", 0.0), ("rft", 0.0)])
def test_each_algorithm_brings_its_own_weight_of_the_hint(algo: str, coef: float) -> None:
    assert build(algo=algo).sft_loss_coef == coef
    assert build(algo=algo, sft_loss_coef=0.5).sft_loss_coef == 0.5


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"algo": "utf"}, r"--algo utf: no such algorithm; did you mean 'uft'\?"),
        ({"data": "countdwn"}, r"--data countdwn: not a task, file or folder; did you mean 'countdown'\?"),
        ({"T": 100, "T_hint": 200}, "--T_hint 200 is past --T 100"),
        ({"T_hint": -1}, "--T_hint -1"),
        (
            {"batch_size": 256, "mini_batch_size": 60},
            "not a multiple of --mini_batch_size 60.*Nearest: --mini_batch_size 64",
        ),
        ({"n_gpu": 3, "mini_batch_size": 64}, "256 sequences, which cannot be split evenly over 3 devices"),
        ({"n_gpu": 2, "tp_size": 4}, "--tp_size 4 does not divide the 2 devices"),
        ({"lora_rank": 513}, "--lora_rank 513: vLLM supports adapters up to rank 512"),
        ({"n_rollout": 1}, "--n_rollout 1: advantages compare"),
        ({"n_rollout": 0}, "--n_rollout 0: must be at least 1"),
        ({"max_hint_length": 4}, "--max_hint_length 4: too short"),
        ({"test_freq": 10, "save_freq": 15}, "--save_freq 15 is not a multiple of --test_freq 10"),
        ({"logger": ("wandbb",)}, "--logger wandbb: unknown; did you mean 'wandb'"),
        ({"model": "models/none"}, "--model models/none: no such folder"),
        ({"model": "justaname"}, "not a Hugging Face name"),
        ({"T_hnt": 3}, "T_hnt: no such setting; did you mean 'T_hint'"),
    ],
)
def test_a_run_that_cannot_work_is_refused_with_the_flag_and_the_fix(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(ExperimentError, match=says):
        build(**flags)


def test_a_model_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"has no config\.json"):
        build(model=str(tmp_path))


def data_for(algo: str) -> str:
    return "countdown_preference" if "alignment" in algorithms()[algo].stages else "countdown"


@pytest.mark.parametrize("algo", algorithms())
def test_algorithms_and_data_that_do_not_fit_are_told_apart(algo: str) -> None:
    other = "countdown" if data_for(algo) == "countdown_preference" else "countdown_preference"
    if algorithms()[algo].stages == ("sft",):
        assert build(algo=algo, data=other).stages == ("alignment",)
    else:
        with pytest.raises(ExperimentError, match="answers with feedback"):
            build(algo=algo, data=other)


def test_shared_flags_mean_the_stage_that_is_run() -> None:
    aligned = build(algo="dpo", data="countdown_preference", lr=7e-6, batch_size=8, micro_batch_size=4)
    assert (aligned.alignment.lr, aligned.alignment.batch_size) == (7e-6, 8)
    assert build(algo="rft", lr=7e-6).lr == 7e-6


def test_published_settings_of_the_alignment_family() -> None:
    profile = PROFILES["1x80gb"]
    found = {
        algo: build_experiment({"algo": algo, "data": "helpsteer2"}, profile).alignment
        for algo in ("dpo", "kto", "una", "una_sft")
    }
    assert {algo: a.beta for algo, a in found.items()} == {"dpo": 0.1, "kto": 0.03, "una": 0.03, "una_sft": 0.01}
    assert (found["una"].lr, found["una_sft"].lr, found["kto"].lr) == (3e-5, 3e-5, 5e-6)
    assert (found["una_sft"].feedback, found["una_sft"].sft_ratio, found["dpo"].feedback) == ("score", 1.0, "pairwise")


@pytest.mark.parametrize("n_gpu", [1, 2, 4, 8])
@pytest.mark.parametrize("algo", algorithms())
def test_every_algorithm_runs_on_one_to_eight_gpus(algo: str, n_gpu: int) -> None:
    assert build(algo=algo, data=data_for(algo), n_gpu=n_gpu).n_gpu == n_gpu


def test_a_short_run_pulls_the_hint_horizon_and_validation_in() -> None:
    e = build(T=10)
    assert (e.T_hint, e.test_freq) == (10, 10)


@given(st.sampled_from(list(algorithms())), st.sampled_from(list(PROFILES)), st.integers(0, 2**31))
def test_saving_and_loading_gives_the_same_experiment(algo: str, profile: str, seed: int) -> None:
    flags = {"algo": algo, "data": data_for(algo), "model": "Qwen/Qwen2.5-0.5B", "seed": seed}
    e = build_experiment(flags, PROFILES[profile])
    again = from_yaml(to_yaml(e))
    assert again == e
    assert again.hash == e.hash


def test_the_hash_names_the_configuration() -> None:
    assert build().hash == build().hash
    assert build().hash != build(seed=1).hash


def test_a_file_of_another_version_says_what_differs() -> None:
    text = to_yaml(build()).replace("T_hint:", "T_hints:")
    with pytest.raises(ExperimentError, match="T_hint, T_hints"):
        from_yaml(text)


@pytest.mark.parametrize(
    ("gpus", "name"), [(0, "cpu"), (1, "1x80gb"), (2, "h100x2"), (3, "h100x2"), (4, "h100x4"), (16, "h100x8")]
)
def test_the_machine_chooses_the_largest_profile_that_fits(gpus: int, name: str) -> None:
    assert detect_profile(gpus).name == name
    assert default_profile(gpus, None).name == name


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ExperimentError, match="--profile h100x3: unknown; did you mean"):
        default_profile(0, "h100x3")


def test_a_sequence_that_no_micro_batch_holds_is_refused_where_there_are_micro_batches() -> None:
    e = build_experiment({"max_response_length": 40000}, PROFILES["cpu"])
    with pytest.raises(ExperimentError, match="more than a micro-batch"):
        refuse_training(e)


def test_a_prepared_folder_has_the_lengths_of_the_file_it_was_made_from(tmp_path: Path) -> None:
    own, made = ROOT / "examples/custom/questions.jsonl", tmp_path / "mine"
    assert data_prep(["validate", str(own), "--out", str(made)]) == 0
    numbers = tmp_path / "numbers"
    countdown.prepare(numbers, n_train=8, n_test=8, seed=0, max_number=30, operators="+-*")
    lengths = [
        (e.max_prompt_length, e.max_hint_length, e.max_response_length)
        for e in (build_experiment({"data": str(data)}, PROFILES["cpu"]) for data in (own, made, "countdown", numbers))
    ]
    assert lengths[0] == lengths[1] != lengths[2] == lengths[3]
