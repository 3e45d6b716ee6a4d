"""examples/own_algorithm.py, the page of docs/algorithms/own.md: one file, no other, through both its stages."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support import ROOT, metrics, rollouts, run, small_countdown

pytestmark = pytest.mark.e2e

FILE = ROOT / "examples/own_algorithm.py"
FLAGS = ("--algo", str(FILE), "--doubt_coef", "0.5", "--T", "3", "--T_hint", "3", "--seed", "5", "--test_freq", "3")
SIZES = ("--batch_size", "8", "--log_rollouts", "-1", "--sft_epochs", "1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, serve: dict[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("own")
    out = folder / "run"
    run(out, *FLAGS, *SIZES, "--data", str(small_countdown(folder / "countdown")), env=serve)
    return out


def test_both_stages_train_and_the_hints_are_in_the_rollouts(finished: Path) -> None:
    assert any("train/loss" in row for row in metrics(finished / "sft").values())
    found = metrics(finished)
    last = max(found)
    assert "val/acc" in found[last]
    lines = [line for step in (1, 2) for line in rollouts(finished, step)]
    assert any(line["hint_tokens"] for line in lines)
    assert all(0 <= line["share"] <= 1 for line in lines)
    assert not any(line["hint_tokens"] for line in rollouts(finished, 3)), "the horizon is T_hint"


def test_its_term_is_in_the_loss_with_the_weight_of_its_option(finished: Path) -> None:
    step = next(row for row in metrics(finished).values() if "actor/doubt" in row)
    assert step["actor/doubt"] > 0
    rest = step["actor/pg_loss"] - 0.001 * step["actor/entropy_loss"] + 0.001 * step["actor/kl_loss"]
    assert step["actor/loss"] == pytest.approx(rest + 0.5 * step["actor/doubt"], abs=1e-5)


def command(*flags: str) -> str:
    """What run.py prints with the example's file."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--algo", str(FILE), *flags], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_its_option_is_in_the_help_and_its_description_in_the_dry_run() -> None:
    assert "--doubt_coef" in command("--help")
    shown = command("--doubt_coef", "0.5", "--profile", "cpu", "--dry_run")
    assert "Fading: SFT, then GRPO from a fading hint" in shown
    assert "--doubt_coef 0.5" in shown


def test_the_example_is_as_short_as_the_page_says() -> None:
    assert len(FILE.read_text().splitlines()) <= 40
