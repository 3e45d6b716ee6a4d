"""Machines as people have them: half installed, another working folder, a disk or memory that is full."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eval.models import find_model
from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.environment import environment
from tests import ROOT
from tests.helpers.front_checks import front_door
from tests.helpers.refusals import refusal


@pytest.mark.parametrize("missing", ["numpy", "psutil", "yaml"])
def test_a_half_installed_environment_is_one_line(missing: str, tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {missing!r}:\n"
        f"            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "sys.argv[1:] = ['--dry_run']\n"
        f"runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert f"run.py: the package {missing} is missing in" in done.stderr
    assert "./install.sh" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_default_run_needs_no_working_folder(tmp_path: Path) -> None:
    flags = ("--algo", "uft", "--data", "countdown", "--out", "run", "--dry_run", "full")
    done = front_door("--profile", "cpu", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "models/tiny-countdown") in done.stdout
    assert find_model("models/tiny-countdown") == "models/tiny-countdown"  # from here


def test_a_folder_of_the_users_goes_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("models/tiny-countdown") == str(ROOT / "models/tiny-countdown")
    (tmp_path / "models/tiny-countdown").mkdir(parents=True)
    assert find_model("models/tiny-countdown") == "models/tiny-countdown"
    assert find_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("n_gpu", [1, 2])
def test_on_the_cpu_ray_is_given_names_of_devices_that_are_none(n_gpu: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray refuses to count more devices than CUDA_VISIBLE_DEVICES names; empty is the usual way to force the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    env = environment(build_experiment({"n_gpu": n_gpu}, PROFILES["cpu"]), RunDir(Path("run")))
    assert env["CUDA_VISIBLE_DEVICES"] == ",".join(["-1"] * n_gpu)
    assert "CUDA_VISIBLE_DEVICES" not in environment(
        build_experiment({"n_gpu": n_gpu}, PROFILES["h100x2"]), RunDir(Path("run"))
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        *(
            (
                OSError(number, os.strerror(number), "/here/experiment.yaml"),
                f"/here/experiment.yaml: {os.strerror(number)}",
            )
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
        ),
        (MemoryError("malloc of size 320 failed"), "out of memory"),
    ],
    ids=str,
)
def test_a_disk_or_memory_that_is_full_is_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> int:
        raise error

    monkeypatch.setattr("run._main", fails)
    line = refusal(capsys)
    assert line.startswith(f"run.py: {said}")
    assert line == f"run.py: {said}" or isinstance(error, MemoryError)
