"""An environment of another project that is active: what it lacks is in the repository's own .venv."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests import ROOT

COMMANDS = (("run.py", "--help"), ("-m", "data_prep", "--help"), ("-m", "eval.report", "--help"))


@pytest.mark.parametrize("command", COMMANDS)
def test_another_active_environment_gives_way_where_packages_are_missing(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    if not (ROOT / ".venv/bin/python").exists():
        pytest.skip("installed without a .venv")
    venv.create(tmp_path / "other", symlinks=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"VIRTUAL_ENV": str(tmp_path / "other")}
    python = str(tmp_path / "other/bin/python")
    done = subprocess.run([python, *command], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = f"the active environment {tmp_path / 'other'} lacks the package pyarrow; using {ROOT / '.venv'}"
    assert done.stderr.strip() == told
    assert done.stdout


def test_an_active_environment_with_everything_stays() -> None:
    code = "import run, sys; before = sys.prefix; run.enter_environment(); print(sys.prefix == before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
