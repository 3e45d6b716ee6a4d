"""verl's own scorers, which can execute an answer, judge in no run: an override that lets them is refused by name."""

import importlib.util
import subprocess
import sys

import pytest

from recipes.checks import verl_scorers
from recipes.checks.verl_scorers import evaluated_at
from recipes.common.errors import ExperimentError
from recipes.doctor import report as doctor
from recipes.flags.resolve import build_experiment
from recipes.run.stages import stage_overrides
from recipes.settings.profiles import PROFILES
from tests import ROOT

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
    f"{PATH}=pkg://reward_fns",
    "reward.num_workers=2",
]


@pytest.mark.parametrize("override", SELECTING)
def test_an_override_that_selects_them_is_refused(override: str) -> None:
    experiment = build_experiment(
        {"algo": "rft", "overrides": ("trainer.balance_batch=False", override)}, PROFILES["cpu"]
    )
    with pytest.raises(ExperimentError, match="custom_reward_function follows from --reward; change it there") as said:
        stage_overrides(experiment)
    assert f"override {override!r} after --" in str(said.value)


@pytest.mark.parametrize("override", HARMLESS)
def test_others_are_not(override: str) -> None:
    experiment = build_experiment({"algo": "rft", "overrides": (override,)}, PROFILES["cpu"])
    assert list(stage_overrides(experiment).values()) == [(override,)]


def test_the_installed_verl_still_evaluates_answers() -> None:
    """Once it does not, the CVE's name goes out of the note by itself; then out of docs/rewards.md as well."""
    assert evaluated_at() == ("grader.py:169", "grader.py:299", "grader.py:301")


def test_a_verl_without_the_fault_is_not_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    evaluated_at.cache_clear()
    try:
        assert verl_scorers.note() is None
    finally:
        evaluated_at.cache_clear()


def test_the_doctor_notes_it_and_takes_no_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [])
    assert doctor.main(["--profile", "cpu"]) == 0
    assert "note       verl's prime_math scorer evaluates answers as Python (CVE-2026-6878" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        doctor.main(["foo"])
    assert "unrecognized arguments: foo" in capsys.readouterr().err


def test_it_needs_the_standard_library_alone() -> None:
    """The doctor tells people what is missing."""
    modules = "('yaml', 'torch', 'verl')"
    code = f"import sys; import recipes.checks.verl_scorers; print([m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
