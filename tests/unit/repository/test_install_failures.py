"""install.sh: what it says of a step of pip that fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.installing import copy_script, install, own_variables


@pytest.fixture(scope="session")
def pip_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An active environment with a pip that really runs; made once, because that takes seconds."""
    folder = tmp_path_factory.mktemp("with_pip") / "env"
    command = [sys.executable, "-m", "venv", str(folder)]
    subprocess.run(command, env=own_variables(), capture_output=True, check=True)
    return {"VIRTUAL_ENV": str(folder)}


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
