"""install.sh: what a second run does."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.installing import copy_script, install, pip_calls


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


@pytest.mark.parametrize(
    ("doctor_status", "said", "again"),
    [(3, "says what this machine lacks", False), (1, "above shows problems", True)],
    ids=["lacking machine", "broken stack"],
)
def test_a_stack_is_installed_again_where_it_is_at_fault_and_not_the_machine(
    active_env: dict[str, str], tmp_path: Path, doctor_status: int, said: str, again: bool
) -> None:
    script = stamped_repository(tmp_path, doctor_status)
    for installs in (True, again):
        done = install("--profile", "cpu", script=script, **active_env)
        assert done.returncode == 1
        assert said in done.stderr
        assert again or "rm -rf" not in done.stderr
        assert (pip_installs(active_env) > 0) is installs
