"""Every command that README and docs show works, from any folder: the cheap ones as they stand, trainings as --dry_run,
of what takes long its flags."""

import json
import os
import re
import runpy
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import run
from tests import ROOT
from tests.helpers.documented_commands import Command, documented
from tests.helpers.front_checks import EXAMPLES, forked, front_door
from tests.helpers.run_folders import settings_of, write_run

COMMANDS = documented()
RUNS = [each for each in COMMANDS if each.program == "run.py"]
MODULES = [each for each in COMMANDS if each.program not in ("run.py", "./install.sh", "pytest")]

STAND_INS = {"out/<name>": str(ROOT / "models/tiny-countdown"), "FILE": "my_questions.jsonl", "RUN": "out/a"}
STAND_INS |= {"openai/gsm8k/main": "gsm8k", "openai/gsm8k/main:train[:1000]": "gsm8k:train[:20]"}
# The problems are as hard, and fewer.
STAND_INS |= dict.fromkeys(("10240", "4500", "4096", "1024", "500", "256"), "32")

CHEAP = ("data_prep", "eval.report")
WITH_COMMANDS = ("data_prep", "reward_fns")
NEEDS_A_COPY = {"--from-hub", "--from-uft", "--source", "--from", "data/others/test.parquet", "math", "vnhsge_table"}
"""Words of commands that need what is not here, or more than some seconds: of these the flags are held to --help."""
LACKING = (
    "lm-evaluation-harness, which runs this suite, is not installed",
    "--data vnhsge: is on no data hub",
    "--model ./qwen: no such folder",
)
"""What runs may be refused for: their reader has it, the tests do not."""
WITHOUT_FLAGS = (
    *("bench.kept_intervals", "bench.study.page", "bench.study.theory"),
    *("recipes.flags.help_text", "recipes.verl_plugin.serve", "tests"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that is not the repository's, with the files that the pages' reader has."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "examples").symlink_to(ROOT / "examples")
    for own, example in (("questions", "questions"), ("answers", "preferences")):
        (folder / f"my_{own}.jsonl").write_bytes((EXAMPLES / f"{example}.jsonl").read_bytes())
    for at, name in enumerate(("my_more", "my_columns", "easy", "hard")):
        numbers = range(100 * at, 100 * at + 40)
        names = ("ask", "steps", "result") if name == "my_columns" else ("q", "how", "a")
        rows = [dict(zip(names, (f"{n} + {n}?", "So it is.", str(2 * n)), strict=True)) for n in numbers]
        more = (
            {}
            if name == "my_columns"
            else {"question": "of another kind: ", "solution": "So it is, by step ", "answer": "1"}
        )
        lines = [
            json.dumps({**row, **{key: f"{value}{at}{n}" for key, value in more.items()}}) for n, row in enumerate(rows)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    for split, at in (("train", 5000), ("test", 6000)):
        rows = [{"question": f"What is {n} plus {n}?", "answer": f"Twice.\n#### {2 * n}"} for n in range(at, at + 40)]
        (folder / f"gsm8k/{split}.jsonl").parent.mkdir(exist_ok=True)
        (folder / f"gsm8k/{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "my_reward.py").write_bytes((EXAMPLES / "reward.py").read_bytes())
    for name in ("a", "b", "mine/r", "noise10/r", "noise30/r", "sft10/r", "sft30/r", "sweep_cpu/uft-s0"):
        write_run(folder / "out" / name, settings_of("uft"), [5, 6])
    # What the forks need is imported here, once.
    run.main(["--algo", "uft", "--data", str(EXAMPLES / "questions.jsonl"), "--profile", "cpu", "--dry_run"])
    return folder


def plain(command: Command, folder: Path) -> list[str]:
    """The arguments with stand-ins for names, and shell patterns filled in."""
    words = [STAND_INS.get(word, word) for word in command.arguments if word != "..."]
    if "--data_path" in words:  # suites in a local copy; without it, from the hub
        at = words.index("--data_path")
        del words[at : at + 2]
    return [found for word in words for found in (map(str, sorted(folder.glob(word))) if "*" in word else [word])]


@pytest.mark.parametrize("command", RUNS, ids=str)
def test_a_run_can_be_started(command: Command, place: Path) -> None:
    words = plain(command, place)
    if not {"--help", "--dry_run"} & {*words}:
        at = words.index("--") if "--" in words else len(words)
        words[at:at] = ["--dry_run"]
    if not {"--help", "--out", "--idx"} & {*words}:
        # The reader may have run it before the tests: in out/ its folder would be there.
        words = ["--idx", "documented", *words]
    if {"--auto_batch", "mistralai/Mistral-7B-v0.1"} & {*words}:  # for a GPU
        words = ["--profile", "1x80gb", *words]
    done = front_door(*words, cwd=place)
    if any(each in done.stderr for each in LACKING):
        return
    assert done.returncode == 0, done.stderr
    # A data set that `datasets` reads for the first time has a progress bar there.
    assert not [line for line in done.stderr.splitlines() if line and not line.startswith("Generating ")]


def module(command: Command, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    def start() -> int:
        os.chdir(folder)
        sys.argv = [command.program, *words]
        runpy.run_module(command.program, run_name="__main__", alter_sys=True)
        return 0

    return forked(start)


def is_cheap(command: Command) -> bool:
    drawn_elsewhere = command.program == "eval.report" and command.page != "README.md"
    return command.program in CHEAP and not drawn_elsewhere and not NEEDS_A_COPY & {*command.arguments}


@pytest.mark.parametrize("command", [each for each in MODULES if is_cheap(each)], ids=str)
def test_a_cheap_command_works_as_it_stands(command: Command, place: Path) -> None:
    done = module(command, plain(command, place), place)
    assert done.returncode == 0, done.stderr


@cache
def help_of(program: str, subcommand: str) -> str:
    command = Command("", program, ())
    return module(command, [*([subcommand] if subcommand else []), "--help"], ROOT).stdout


@pytest.mark.parametrize("command", [each for each in MODULES if not is_cheap(each)], ids=str)
def test_a_command_that_takes_long_has_the_flags_it_is_shown_with(command: Command) -> None:
    flags = [word for word in command.arguments if re.fullmatch(r"--\w[\w-]*", word)]
    if command.program in WITHOUT_FLAGS:
        import_module(command.program)
        assert not flags
        return
    first = next(iter(command.arguments), "-")
    told = help_of(command.program, "" if first.startswith("-") or command.program not in WITH_COMMANDS else first)
    assert "usage" in told
    for flag in flags:
        assert re.search(rf"{flag}\b", told), f"{flag} is no flag of {command.program}"


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.program == "./install.sh"], ids=str)
def test_the_installer_has_the_flags_it_is_shown_with(command: Command) -> None:
    told = subprocess.run([ROOT / "install.sh", "--help"], capture_output=True, text=True, check=True).stdout
    for word in command.arguments:
        assert not word.startswith("--") or word in told


@pytest.mark.parametrize("module", ["data_prep", "reward_fns", "eval.report", "bench", "recipes.doctor", "tests"])
def test_a_module_goes_on_in_the_environment_without_any_package(module: str, tmp_path: Path) -> None:
    """Nor does it import one before: the Python it is started with sees none."""
    for package in ("recipes", "data_prep", "reward_fns", "eval", "bench", "tests"):
        (tmp_path / package).symlink_to(ROOT / package)
    # Not a link: it looks for .venv beside itself.
    (tmp_path / "run.py").write_bytes((ROOT / "run.py").read_bytes())
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho in .venv "$@"\n')
    python.chmod(0o755)
    bare = [Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}"), "-S", "-m", module, "--help"]
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(bare, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == f"in .venv -S -m {module} --help\n", done.stderr
