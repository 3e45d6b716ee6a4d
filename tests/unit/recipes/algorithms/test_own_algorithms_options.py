"""A user's options: which are refused, and how they are read."""

from pathlib import Path

import pytest

from run import main
from tests.helpers.own_algorithms import field, options, refused, written
from tests.helpers.refusals import refusal

ODD = {
    "options of another kind": (field(options="{'a': 1}"), "options={'a': 1}: must be a @dataclass class"),
    "options without a decorator": ("class Options:\n    a: float = 1.0\n" + field(options="Options"), "@dataclass"),
    "an option without a type": (options("gate = 0.5"), "its option 'gate' has no type"),
    "an option without a default": (options("gate: float"), "all fields of options need defaults"),
    "an option that nobody reads": (options("gate: float = 0.5", metrics="lambda step, s: {}"), "no hook reads s."),
    "an option with unknown metadata": (
        options("gate: float = field(default=.5, metadata={'hlp': 'x'})"),
        "its option 'gate': metadata has 'hlp', which nothing reads; did you mean 'help'?",
    ),
    "an option mistyped in a hook": (
        options("gate: float = 0.5", metrics="lambda step, s: {'x': s.gates}"),
        "its option 'gate': no hook reads s.gate; one reads s.gates",
    ),
    "an option of a text that is no choice": (
        options("gate: str = field(default='ajar', metadata={'choices': ('open', 'shut')})"),
        "its option 'gate': the default 'ajar': must be one of open, shut",
    ),
    "an option of a set": (
        options("gate: set = field(default_factory=set)"),
        "the default set() has an unsupported type",
    ),
    "an option of None": (options("gate: float | None = None"), "the default None has an unsupported type"),
    "an option past all": (options("gate: float = math.inf"), "the default inf must be a finite number"),
    "an option of another type": (options("gate: float = 'a'"), "is declared as float, but its default is 'a'"),
    "an option like a flag": (options("lr: float = 0.5"), "its option 'lr' is a flag of every run"),
    "an option like an alias": (options("n_rollouts: int = 5"), "its option 'n_rollouts' is a flag of every run"),
    "an option like --help": (options("help: int = 5"), "its option 'help' is a flag of every run"),
    "an option without a flag": (options("overrides: str = ''"), "its option 'overrides' is a flag of every run"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_options_are_refused(odd: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path, capsys, *ODD[odd])


def test_an_option_is_one_of_its_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, options("gate: str = field(default='shut', metadata={'choices': ('open', 'shut')})"))
    assert main(["--algo", file, "--gate", "open", "--profile", "cpu", "--dry_run"]) == 0
    ajar = refusal(capsys, "--algo", file, "--gate", "ajar", "--profile", "cpu", "--dry_run")
    assert "--gate: invalid choice: 'ajar' (choose from 'open', 'shut')" in ajar
    mistyped = refusal(capsys, "--algo", file, "--gat", "open", "--gaet_coef", "1")
    assert "--gat: no such flag; did you mean '--gate'?" in mistyped


def test_an_option_is_read_as_its_own_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = options("gate: str = 'shut'\n    three: float = 1")
    words = ["--gate", "ajar", "--three", ".5", "--profile", "cpu", "--dry_run"]
    assert main(["--algo", written(tmp_path, text), *words]) == 0
    assert "--gate ajar, --three 0.5" in capsys.readouterr().out


ODD_CHECKS = {
    "no function": ("check='x'", "check='x': must be a function of the value"),
    "fails": ("check=lambda v: 1 / (v - v)", "the default 0.5: its check fails: ZeroDivisionError"),
    "a truth value": ("check=lambda v: v < 1", "its check returns True: must be a text that says what is wrong"),
    "nothing": ("check=lambda v: None", "its check returns None: must be a text that says what is wrong"),
    "refuses its default": ("check=lambda v: 'must be above 1'", "the default 0.5: must be above 1"),
    "help that is none": ("help=3", "help=3: must be a text"),
}


@pytest.mark.parametrize("odd", ODD_CHECKS)
@pytest.mark.parametrize("mode", ["--dry_run", "--help"])
def test_the_check_of_an_option_is_tried(
    odd: str, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about, says = ODD_CHECKS[odd]
    name, value = about.split("=", 1)
    file = written(
        tmp_path,
        "import dataclasses\n"
        + options(f"gate: float = dataclasses.field(default=0.5, metadata={{{name!r}: {value}}})"),
    )
    said = refusal(capsys, "--algo", file, mode)
    assert "its option 'gate': " in said
    assert says in said
