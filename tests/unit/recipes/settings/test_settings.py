"""One declaration: how flags are spelled and read, what --help, the page and the completion say of them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from data_prep.countdown.generate import prepare
from recipes.algorithms import algorithms
from recipes.common.values import wrong
from recipes.flags.effect import without_effect
from recipes.flags.help_text import PAGE, completion, help_text, page
from recipes.flags.parser import catalogue, parser
from recipes.flags.resolve import build_experiment
from recipes.settings.alignment import Alignment
from recipes.settings.declare import GROUPS, Setting, declared
from recipes.settings.experiment import Experiment
from recipes.settings.modes import PARTS
from recipes.settings.profiles import PROFILES
from recipes.settings.saved import from_yaml, to_yaml
from run import main
from tests import ROOT
from tests.helpers.front_checks import front_door

SETTINGS = catalogue()
OPTIONS = """
from __future__ import annotations
from dataclasses import dataclass
from recipes.algorithms.base import Algorithm

@dataclass(frozen=True)
class Options:
    careful: bool = True
    \"\"\"Look twice.\"\"\"

    {name}: float = 0.5
    \"\"\"Told under
    the field.\"\"\"

def metrics(step, s):
    return {{"read": float(s.careful) + s.{name}}}

ALGORITHM = Algorithm(name="mine", title="", paper="", equation="", stages=("rl",), options=Options, metrics=metrics)
"""


def text_for(setting: Setting) -> str:
    """Some value of it that is not its default."""
    if setting.choices:
        return setting.choices[-1]
    if setting.metavar == "N,N":
        return "3,5"
    if setting.kind is float and wrong(setting.name, 0.75, setting.check):
        return "1.5"
    return {int: "7", float: "0.75", bool: "false"}.get(setting.kind, "x,y")


def own(folder: Path, name: str = "calm") -> str:
    file = folder / f"{name}.py"
    file.write_text(OPTIONS.format(name=name), encoding="utf-8")
    return str(file)


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


def test_an_option_named_like_a_flag_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--algo", own(tmp_path, "lr"), "--dry_run"]) == 2
    assert "its option 'lr' is a flag of every run" in capsys.readouterr().err


def test_an_option_without_a_default_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(own(tmp_path, "eager"))
    file.write_text(file.read_text(encoding="utf-8").replace("careful: bool = True", "careful: bool"), encoding="utf-8")
    assert main(["--algo", str(file), "--dry_run"]) == 2
    assert "all fields of options need defaults" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(name for name, each in SETTINGS.items() if not each.evaluates))
def test_a_flag_that_an_evaluation_has_no_use_for_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    setting = SETTINGS[name]
    modes = {"sweep", "reproduce", "pipeline", "eval", "completion"}
    if name in modes:
        return
    words = [f"--{setting.spelling}"] if setting.switch else [f"--{setting.spelling}", text_for(setting)]
    assert main(["--eval", *words]) == 2
    assert re.match(rf"run\.py: --{name} belongs to (training|--sweep)", capsys.readouterr().err)


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


# --- what is told -----------------------------------------------------------------------------------------------------


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
    assert main(["--algo", "utf", "--help"]) == 2
    assert "did you mean 'uft'" in capsys.readouterr().err


def test_the_page_of_flags_is_what_is_declared() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python3 -m recipes.flags.help_text"


def test_bash_completes_a_flag() -> None:
    script = completion() + '\ncomplete -p ./run.py; compgen -W "$(complete -p run.py | cut -d\\\' -f2)" -- --n_r'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "--n_rollout"


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (("--help",), ()),
        (("--data", "written", "--dry_run"), ()),
        # A task that is not generated yet is judged by a few rows, and pyarrow imports pandas to write them.
        (("--dry_run",), ("pandas",)),
        (("--algo", "dpo", "--data", "helpsteer2", "--dry_run"), ()),
    ],
)
def test_nothing_slow_is_imported_to_answer(words: tuple[str, ...], taken: tuple[str, ...], tmp_path: Path) -> None:
    """Each of these takes longer to import than --help and --dry_run take to answer."""
    if "written" in words:
        prepare(tmp_path, n_train=64, n_test=8, seed=0)
        words = tuple(str(tmp_path) if word == "written" else word for word in words)
    slow = {"torch", "verl", "vllm", "transformers", "datasets", "pandas", "trl", "ray"} - {*taken}
    code = (
        f"import sys, run; run.main({[*words, '--profile', 'cpu']!r}); print([m for m in {slow} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


# --- a run repeated ---------------------------------------------------------------------------------------------------


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


def test_a_mistyped_flag_is_one_line_by_the_command() -> None:
    done = front_door("--n-rolout", "8")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--n-rolout: no such flag; did you mean '--n_rollout'?" in done.stderr


def test_the_help_waits_for_no_large_library() -> None:
    """It is to answer within a second; each of these takes a quarter of one or more."""
    code = "import sys, run; run.main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    large = {"torch", "transformers", "pyarrow", "pandas", "ray", "verl", "vllm", "trl", "sympy", "mpmath"}
    assert large & set(done.stdout.splitlines()[-1].split()) == set()
