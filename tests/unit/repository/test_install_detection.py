"""install.sh: GPUs, drivers and compilers as it finds them on a machine."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.helpers.installing import copy_script, fake_command, install


@pytest.fixture
def machine(active_env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The active environment, and commands in `bin` before all others."""
    return {**active_env, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


ONE_GPU = "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)'"
EIGHT_GPUS = """case "$1" in
-L) for i in 0 1 2 3 4 5 6 7; do echo "GPU $i: NVIDIA H100 80GB HBM3 (UUID: GPU-$i)"; sleep 0.05; done ;;
*) echo 580.65.06 ;;
esac"""


@pytest.mark.parametrize("body", [ONE_GPU, EIGHT_GPUS], ids=["one", "eight"])
def test_cuda_is_detected_by_its_gpus(machine: dict[str, str], tmp_path: Path, body: str) -> None:
    fake_command(tmp_path / "bin", "nvidia-smi", body)
    assert "Profile: cuda (detected" in install("--dry-run", **machine).stdout


def test_the_list_of_the_cuda_stack_is_closed_where_it_has_hashes(machine: dict[str, str], tmp_path: Path) -> None:
    """Else pip 23.2 stops at the extra that a package names of one whose hash is known."""
    fake_command(tmp_path / "bin", "nvidia-smi", ONE_GPU)
    done = install("--dry-run", "--flash-attn", **machine)
    assert f"--no-deps --require-hashes -r {ROOT}/requirements/locked-cuda.txt" in done.stdout
    for other in (("--no-hashes",), ("--torch-index", "https://builds.example")):
        shown = install("--dry-run", *other, **machine).stdout
        assert "requirements/cuda.txt" in shown
        assert "--no-deps" not in shown
    assert "flash-attn==" in done.stdout


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
    machine: dict[str, str], tmp_path: Path, body: str, said: str
) -> None:
    fake_command(tmp_path / "bin", "nvidia-smi", body)
    done = install("--dry-run", **machine)
    assert done.returncode == 1
    assert said in done.stderr
    assert "fix the NVIDIA driver" in done.stderr
    assert "--profile cpu" in done.stderr
    assert "+ " not in done.stdout
    for profile in ("cpu", "cuda"):
        assert install("--dry-run", "--profile", profile, **machine).returncode == 0


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
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name, path="/usr/bin:/bin")))
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


@pytest.mark.parametrize(("listed", "archs"), [("9.0\\n9.0", "90"), ("8.9\\n9.0", "80;90"), ("[N/A]", "")])
def test_flash_attn_is_compiled_for_the_cards_that_are_here(
    machine: dict[str, str], tmp_path: Path, listed: str, archs: str
) -> None:
    body = f'case "$1" in *compute_cap*) printf "{listed}\\n";; *) echo "GPU 0: NVIDIA H100";; esac'
    fake_command(tmp_path / "bin", "nvidia-smi", body)
    done = install("--dry-run", "--flash-attn", **machine)
    (line,) = [line for line in done.stdout.splitlines() if "flash-attn==" in line]
    assert ("FLASH_ATTN_CUDA_ARCHS=" in line) is bool(archs)
    assert not archs or f"+ env FLASH_ATTN_CUDA_ARCHS={archs} " in line


@pytest.mark.parametrize("driver", ["550.54.14", "580.65.06"])
def test_a_driver_that_is_too_old_is_refused_before_anything_is_fetched(
    machine: dict[str, str], tmp_path: Path, driver: str
) -> None:
    fake_command(
        tmp_path / "bin",
        "nvidia-smi",
        f'case "$1" in -L) echo "GPU 0: NVIDIA A100";; *) echo {driver}; echo 590.1;; esac',
    )
    done = install("--dry-run", **machine)
    old = driver.startswith("550")
    assert done.returncode == int(old)
    assert ("the NVIDIA driver here is 550.54.14" in done.stderr) is old
    assert ("+ " in done.stdout) is not old
    # Its wheels may be meant for another machine; and cuda-compat makes an old driver do.
    for way in (("--force",), ("--make-wheelhouse", str(tmp_path / "house"))):
        assert install("--dry-run", *way, **machine).returncode == 0
