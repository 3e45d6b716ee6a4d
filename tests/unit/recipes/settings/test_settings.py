"""One declaration: how flags are spelled and read, their ranges, and a run repeated from its own files."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recipes.common.values import wrong
from recipes.flags.parser import catalogue, parser
from recipes.settings.declare import declared
from recipes.settings.modes import PARTS
from recipes.settings.saved import from_yaml, to_yaml
from run import main
from tests import ROOT
from tests.helpers.refusals import refusal
from tests.helpers.settings import SETTINGS, own, text_for


def parsed(*words: str, algo: str | None = None) -> dict[str, Any]:
    return {name: value for name, value in vars(parser(algo).parse_args(list(words))).items() if value is not None}


@given(st.sampled_from(sorted(SETTINGS)), st.booleans(), st.booleans())
def test_a_flag_is_the_same_with_hyphens_underscores_and_its_other_names(name: str, joined: bool, hyphen: bool) -> None:
    setting = SETTINGS[name]
    for each in (name, *setting.aliases):
        spelling = "--" + (each.replace("_", "-") if hyphen else each)
        if setting.switch:
            assert parsed(spelling) == {name: True}
            continue
        text = text_for(setting)
        words = [f"{spelling}={text}"] if joined else [spelling, text]
        assert parsed(*words) == {name: setting.read(text)}


@pytest.mark.parametrize("value", ["-1e3", "-2", "-.5"])
def test_a_value_may_be_negative(value: str) -> None:
    assert parsed("--score_min", value, "--seed", "1") == {"score_min": float(value), "seed": 1}


def test_nothing_that_is_not_given_has_a_value() -> None:
    assert parsed() == {}


def test_a_value_that_is_on_in_a_file_can_be_put_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed("--allow_overlap", "--seed", "1") == {"allow_overlap": True, "seed": 1}
    assert parsed("--allow_overlap", "--allow_overlap", "false") == {"allow_overlap": False}
    with pytest.raises(SystemExit):
        parsed("--allow_overlap", "perhaps")
    assert "'perhaps' is neither true nor false" in capsys.readouterr().err


def test_options_of_an_own_algorithm_are_told_under_their_fields(tmp_path: Path) -> None:
    file = own(tmp_path)
    options = {name: each for name, each in catalogue(file).items() if name not in SETTINGS}
    assert {name: (each.kind, each.help, each.default) for name, each in options.items()} == {
        "careful": (bool, "Look twice.", True),
        "calm": (float, "Told under the field.", 0.5),
    }
    assert parsed("--careful", "false", "--calm", "-1", algo=file) == {"careful": False, "calm": -1.0}


def test_an_option_put_off_travels_into_the_command_of_a_sweep(tmp_path: Path) -> None:
    from recipes.flags.parser import arguments

    words = arguments({"algo": own(tmp_path), "careful": False, "resume": False, "T": 3})
    assert words[2:] == ["--careful", "false", "--T", "3"]


MODES = {"sweep", "reproduce", "pipeline", "eval", "completion"}


@pytest.mark.parametrize("name", sorted({name for name, each in SETTINGS.items() if not each.evaluates} - MODES))
def test_a_flag_that_an_evaluation_has_no_use_for_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    setting = SETTINGS[name]
    words = [f"--{setting.spelling}"] if setting.switch else [f"--{setting.spelling}", text_for(setting)]
    assert re.match(rf"run\.py: --{name} belongs to (training|--sweep)", refusal(capsys, "--eval", *words))


def test_an_evaluation_takes_from_a_runs_file_what_it_can_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "flags.yaml"
    file.write_text("algo: rft\nT: 5\nval_size: 7\nmax_response_length: 9\n")
    assert main(["--eval", "--config", str(file), "--profile", "cpu", "--dry_run"]) == 0
    assert "ignored from --config, no effect on --eval: algo, T" in capsys.readouterr().out
    assert main(["--eval", "--config", str(file), "--T", "6"]) == 2


ANY_NUMBER = {
    "entropy_coef": "below 0 it is a penalty on entropy",
    "score_min": "scores of a user's own scale",
    "score_max": "scores of a user's own scale",
    "val_size": "-1 is all of the test file",
    "log_rollouts": "-1 is all of them",
}
"""Numbers that may be -1, and why."""


NUMBERS = {
    (part.__name__, name): setting
    for part in PARTS
    for name, setting in declared(part).items()
    if setting.kind in (int, float)
}


@pytest.mark.parametrize(("part", "name"), NUMBERS)
def test_a_number_has_a_range_that_it_is_refused_outside_of(part: str, name: str) -> None:
    setting = NUMBERS[part, name]
    for odd in ("nan", "inf") if setting.kind is float else ():
        assert "must be a finite number" in wrong(name, float(odd), setting.check)
    assert bool(wrong(name, -1, setting.check)) == (name not in ANY_NUMBER)


@pytest.mark.parametrize(
    "words",
    [
        ("--T", "12", "--T_hint", "6", "--lr", "1e-4", "--logger", "console,file", "--idx", "a", "--allow_overlap"),
        ("--algo", "sft", "--epochs", "2", "--val_size", "8"),
        ("--algo", "una", "--data", "countdown_preference", "--feedback", "binary", "--lora_rank", "4"),
        ("--algo", "examples/own_algorithm.py", "--doubt_coef", "0.5", "--n-rollouts", "8"),
        ("--n_rollout", "8", "--", "trainer.balance_batch=False"),
    ],
    ids=" ".join,
)
def test_a_runs_own_files_repeat_it_with_one_thing_changed(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files as a start writes them; the repetition is the same experiment but for its seed."""
    from dataclasses import replace

    from recipes.flags.config_file import record

    monkeypatch.chdir(ROOT)
    found: list[Any] = []

    def launch(experiment: Any, folder: Path, **how: Any) -> int:
        found.append(experiment)
        (tmp_path / "experiment.yaml").write_text(to_yaml(experiment), encoding="utf-8")
        record(tmp_path, how["given"])
        return 0

    monkeypatch.setattr("recipes.commands.train.launch", launch)
    assert main(["--profile", "cpu", *words]) == 0
    first = from_yaml((tmp_path / "experiment.yaml").read_text(encoding="utf-8"))
    assert first == found[0]
    for file in ("experiment.yaml", "given.yaml"):
        assert main(["--config", str(tmp_path / file), "--seed", "1"]) == 0
        assert found[-1] == replace(first, seed=1)
        (tmp_path / "experiment.yaml").write_text(to_yaml(first), encoding="utf-8")
        record(tmp_path, {**yaml.safe_load((tmp_path / "given.yaml").read_text()), "seed": None})
