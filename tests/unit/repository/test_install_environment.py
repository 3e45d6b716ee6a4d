"""install.sh: into which environments it installs, and which it refuses."""

import os
from pathlib import Path

import pytest

from tests.helpers.installing import add_distribution, copy_script, fake_command, install, make_env, pip_calls


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
