"""What --help, the page of flags and the completion say of settings, and that nothing slow is imported for it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.countdown.generate import prepare
from recipes.algorithms import algorithms
from recipes.flags.effect import without_effect
from recipes.flags.help_text import PAGE, completion, help_text, page
from recipes.flags.resolve import build_experiment
from recipes.settings.alignment import Alignment
from recipes.settings.declare import GROUPS, declared
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from run import main
from tests import ROOT
from tests.helpers.refusals import refusal
from tests.helpers.settings import SETTINGS, own, text_for


def flags_of(text: str) -> set[str]:
    return set(re.findall(r"^  --([\w-]+)", text, re.MULTILINE))


def test_help_has_every_flag_with_its_group_and_default() -> None:
    told = help_text(["--help", "--profile", "cpu"])
    assert flags_of(told) == {each.spelling for each in SETTINGS.values()}
    headings = [line.rstrip(":") for line in told.splitlines() if line.rstrip(":") in GROUPS]
    assert headings == list(GROUPS), "those of algorithms come after them"
    flat = " ".join(told.split())
    for one in (
        "Rollouts per prompt. (also --n_rollouts) [4]",
        "Reinforcement steps. [30]",
        "[console,file,tensorboard]",
    ):
        assert one in flat
    gpu = " ".join(help_text(["--help", "--profile=h100x2"]).split())
    assert "Reinforcement steps. [500]" in gpu


def data_for(algo: str) -> str:
    return "countdown_preference" if algorithms()[algo].method else "countdown"


@pytest.mark.parametrize("algo", algorithms())
def test_help_of_an_algorithm_has_what_applies_to_it_with_its_own_defaults(algo: str) -> None:
    told = help_text(["--algo", algo, "--help", "--profile", "cpu"])
    # --temperature is of those without a reinforcement stage, too, where they draw answers.
    e = build_experiment({"algo": algo, "data": data_for(algo), "val_samples": 2}, PROFILES["cpu"])
    of_runs = {*declared(Experiment), *declared(Alignment)} & SETTINGS.keys()
    idle = set(without_effect(dict.fromkeys(of_runs, 1), e))
    assert flags_of(told) & of_runs == of_runs - idle
    assert e.options.keys() <= flags_of(told)
    values = vars(e.alignment if e.stages == ("alignment",) else e)
    lr = e.sft_lr if e.stages == ("sft",) else values["lr"]
    assert f"cosine). [{lr:g}]" in " ".join(told.split())


@pytest.mark.parametrize("algo", ["uft", "sft", "dpo"])
def test_what_help_of_an_algorithm_does_not_list_a_run_refuses(algo: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = flags_of(help_text(["--algo", algo, "--help", "--profile", "cpu"]))
    for setting in SETTINGS.values():
        if setting.spelling not in shown and not setting.switch:
            words = ["--algo", algo, "--data", data_for(algo), "--profile", "cpu", "--dry_run"]
            assert main([*words, f"--{setting.spelling}", text_for(setting)]) == 2, setting.name
            capsys.readouterr()


def test_help_of_uft_is_without_what_other_methods_have() -> None:
    shown = flags_of(help_text(["--algo", "uft", "--help"]))
    assert {"T_hint", "sft_loss_coef", "n_rollout", "lr"} <= shown
    assert not {"beta", "una_loss", "critic_lr", "sft_epochs", "n_samples", "seeds", "load_in_4bit"} & shown


def test_help_of_an_own_algorithm_has_its_options(tmp_path: Path) -> None:
    told = help_text(["--algo", own(tmp_path, "calm2"), "--help"])
    assert "options of --algo mine:" in told
    assert "Told under the field. [0.5]" in told


def test_help_of_an_evaluation_has_its_flags_alone() -> None:
    shown = flags_of(help_text(["--eval", "--help"]))
    assert {"model", "n_samples", "k", "val_size", "temperature"} <= shown
    assert not {"T", "lr", "n_rollout", "seeds"} & shown


def test_the_command_prints_help_and_refuses_an_unknown_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    assert capsys.readouterr().out.startswith("usage: python3 run.py")
    assert "did you mean 'uft'" in refusal(capsys, "--algo", "utf", "--help")


def test_the_page_of_flags_is_what_is_declared() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python3 -m recipes.flags.help_text"


def test_bash_completes_a_flag() -> None:
    script = completion() + '\ncomplete -p ./run.py; compgen -W "$(complete -p run.py | cut -d\\\' -f2)" -- --n_r'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "--n_rollout"


SLOW = {"torch", "verl", "vllm", "transformers", "datasets", "pandas", "trl", "ray"}


@pytest.mark.parametrize(
    ("words", "slow"),
    [
        # Within a second; each of these takes a quarter of one or more.
        (("--help",), SLOW | {"pyarrow", "sympy", "mpmath"}),
        (("--data", "written", "--dry_run"), SLOW),
        # A task that is not generated yet is judged by a few rows, and pyarrow imports pandas to write them.
        (("--dry_run",), SLOW - {"pandas"}),
        (("--algo", "dpo", "--data", "helpsteer2", "--dry_run"), SLOW),
    ],
)
def test_nothing_slow_is_imported_to_answer(words: tuple[str, ...], slow: set[str], tmp_path: Path) -> None:
    """Each of these takes longer to import than --help and --dry_run take to answer."""
    if "written" in words:
        prepare(tmp_path, n_train=64, n_test=8, seed=0)
        words = tuple(str(tmp_path) if word == "written" else word for word in words)
    code = (
        f"import sys, run; run.main({[*words, '--profile', 'cpu']!r}); print([m for m in {slow} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
