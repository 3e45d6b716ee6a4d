"""Devices that are not here, and what they cannot share, are refused."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.run import refuse
from recipes.run.refuse import refuse_missing_devices
from recipes.settings.profiles import PROFILES
from run import main

BAD = {
    "--auto_batch": "--auto_batch: only for GPUs that run out of memory",
    "--n_gpu 3000": "--n_gpu 3000: this machine has",
    "--visible-devices 0,x": "--visible_devices 0,x: 'x' is not a GPU; give a number, GPU-<uuid> or MIG-<uuid>",
    "--visible-devices 7000": "--visible_devices 7000: GPU 7000 does not exist here",
    "--eval --visible-devices 7000": "--visible_devices 7000: GPU 7000 does not exist here",
}


@pytest.mark.parametrize("command", BAD)
def test_devices_that_no_machine_has_are_refused(command: str, refused: Callable[[str], str]) -> None:
    assert BAD[command] in refused(command)


@pytest.mark.parametrize("mode", ["", "--sweep", "--pipeline sft,rft", "--eval"])
def test_devices_that_are_not_here_are_refused_at_the_start_alone(
    mode: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = [*mode.split(), "--profile", "h100x2", "--model", "Qwen/Qwen2.5-0.5B", "--out", str(tmp_path / "run")]
    assert main([*words, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert mode in ("--sweep", "--eval") or "cannot start here: --n_gpu 2: this machine has 0 visible GPUs" in said
    assert main(words) == 2
    assert "this machine has 0 visible GPUs; use fewer, or a profile for this machine" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_gpus_are_of_no_use_to_the_stack_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refuse, "gpu_count", lambda: 2)
    two = build_experiment({"model": "Qwen/Qwen2.5-0.5B"}, PROFILES["h100x2"])
    monkeypatch.setattr(refuse, "installed_vllm", lambda: "cpu")
    with pytest.raises(ExperimentError, match=r"for CPUs: \./install\.sh --profile cuda, or --profile cpu"):
        refuse_missing_devices(two)
    monkeypatch.setattr(refuse, "installed_vllm", lambda: "cuda")
    refuse_missing_devices(two)


def test_the_devices_of_a_cluster_are_not_counted_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    many = build_experiment({"model": "Qwen/Qwen2.5-0.5B"}, PROFILES["h100x2"])
    with pytest.raises(ExperimentError, match="this machine has 0 visible GPUs"):
        refuse_missing_devices(many)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    refuse_missing_devices(many)
    # Which trains on this machine alone.
    with pytest.raises(ExperimentError, match="0 visible GPUs"):
        refuse_missing_devices(build_experiment({"algo": "dpo", "data": "helpsteer2"}, PROFILES["h100x2"]))
    monkeypatch.setenv("RAY_ADDRESS", "")
    with pytest.raises(ExperimentError, match="RAY_ADDRESS names no cluster"):
        refuse_missing_devices(replace(many, nnodes=2))


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("--n_gpu 3", 0, "--batch_size 15: the default 16 is not a multiple of 3 devices\n"),
        (
            "--micro_batch_size 3",
            0,
            "--batch_size 24: the default 16 is not a multiple of --micro_batch_size 3 times 8 devices",
        ),
        ("--n_gpu 3 --batch_size 16", 2, "is not divisible by 3 devices. Nearest: --batch_size 15."),
        ("--batch_size 16 --micro_batch_size 3", 2, "the 2 rows that each device gets of --batch_size 16"),
        ("--profile 4x24gb", 0, "--lora_rank 32: all weights of Qwen/Qwen2.5-1.5B do not fit on a device"),
    ],
)
def test_any_number_of_devices_shares_a_training_on_answers(
    flags: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = [] if "--profile" in flags else ["--profile", "h100x8"]
    words = ["--algo", "dpo", "--data", "countdown_preference", "--dry_run", *profile, *flags.split()]
    assert main(words) == code
    assert said in "".join(capsys.readouterr())


def test_several_machines_without_a_cluster_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["--nnodes", "2", "--out", str(tmp_path / "run")]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(words) == 2
    assert "--nnodes 2: RAY_ADDRESS names no cluster" in capsys.readouterr().err
    assert main([*words, "--dry_run"]) == 0
    assert "cannot start here: --nnodes 2" in capsys.readouterr().out
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert main([*words, "--dry_run"]) == 0
    assert "cannot start here" not in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_no_visible_device_is_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert main(["--visible-devices", "", "--dry_run", "--profile", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("model", "profile", "awake", "refused"),
    [
        ("google/gemma-3n-E2B-it", "1x80gb", False, True),
        ("google/gemma-4-2b", "1x80gb", False, True),
        ("google/gemma-3n-E2B-it", "1x80gb", True, False),
        ("google/gemma-3n-E2B-it", "cpu", False, False),
        ("google/gemma-2-2b-it", "1x80gb", False, False),
    ],
)
def test_models_whose_engine_forgets_values_while_it_sleeps_are_refused(
    model: str, profile: str, awake: bool, refused: bool
) -> None:
    overrides = ("actor_rollout_ref.rollout.free_cache_engine=False",) if awake else ()
    with pytest.raises(ExperimentError, match="no weight sync restores") if refused else nullcontext():
        build_experiment({"model": model, "overrides": overrides}, PROFILES[profile])
