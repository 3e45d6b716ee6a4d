"""An override that lets verl's own scorers judge is warned of by name: by --dry_run, at the start, by the doctor."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.checks import verl_scorers
from recipes.checks.verl_scorers import evaluated_at, selected, warning
from recipes.data.datafiles import locate
from recipes.doctor import report as doctor
from recipes.flags.resolve import build_experiment
from recipes.run.plan import describe
from recipes.settings.profiles import PROFILES

ROOT = Path(__file__).resolve().parents[2]
PATH = "reward.custom_reward_function.path"
SELECTING = [
    f"{PATH}=null",
    f"{PATH}=",
    f"{PATH}=~",
    f"++{PATH}=pkg://verl.utils.reward_score.prime_math",
    f"{PATH}=/venv/verl/utils/reward_score/prime_math/__init__.py",
    f"{PATH}='pkg://verl/utils/reward_score/prime_code'",
    "reward.custom_reward_function={path: null, name: compute_score}",
    "reward.custom_reward_function={name: compute_score, path: pkg://verl.utils.reward_score.prime_math}",
    "reward={custom_reward_function: {path: null}}",
    "+custom_reward_function.path=pkg://verl.utils.reward_score.prime_math",
]
HARMLESS = [
    "reward.custom_reward_function.name=compute_score",
    f"{PATH}=mine.py",
    f"{PATH}=pkg://reward_fns",
    "reward.reward_manager.name=dapo",
    "trainer.test_freq=9",
    "reward.num_workers=2",
]


@pytest.mark.parametrize("override", SELECTING)
def test_an_override_that_selects_them_is_named(override: str) -> None:
    text = warning(["trainer.test_freq=9", override])
    assert text is not None
    assert text.startswith(f"{override} makes verl's own scorers judge")
    assert "CVE-2026-6878: grader.py:169, grader.py:299, grader.py:301" in text


@pytest.mark.parametrize("override", HARMLESS)
def test_others_are_not(override: str) -> None:
    assert warning([override]) is None
    assert selected([f"{PATH}=null", override]) == (None if override.startswith(f"{PATH}=") else f"{PATH}=null")


def test_the_installed_verl_still_evaluates_answers() -> None:
    """Once it does not, the CVE's name goes out of the warning by itself; then out of docs/rewards.md as well."""
    assert evaluated_at() == ("grader.py:169", "grader.py:299", "grader.py:301")


def test_a_verl_without_the_fault_is_not_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    evaluated_at.cache_clear()
    try:
        assert verl_scorers.note() is None
        assert "CVE" not in str(warning([SELECTING[0]]))
    finally:
        evaluated_at.cache_clear()


def test_a_dry_run_warns() -> None:
    plain = build_experiment({"algo": "rft", "data": "countdown"}, PROFILES["cpu"])
    warned = build_experiment({"algo": "rft", "data": "countdown", "overrides": (SELECTING[0],)}, PROFILES["cpu"])
    files = locate(plain, ROOT)
    assert "warning:" not in describe(plain, files)
    assert f"\nwarning:       {SELECTING[0]} makes verl's own scorers judge" in describe(warned, files)


def test_the_doctor_warns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [])
    assert doctor.main(["--profile", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "note       verl's prime_math scorer evaluates answers as Python (CVE-2026-6878" in told
    assert "warning    reward" not in told
    doctor.main(["--profile", "cpu", "--", "trainer.test_freq=9", SELECTING[0]])
    assert f"warning    {SELECTING[0]} makes verl's own scorers judge" in capsys.readouterr().out


def test_it_needs_the_standard_library_alone() -> None:
    """The doctor tells people what is missing."""
    modules = "('yaml', 'torch', 'verl')"
    code = f"import sys; import recipes.checks.verl_scorers; print([m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
