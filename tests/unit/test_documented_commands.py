"""Every command that README and docs show works, from any folder: the cheap ones as they stand, trainings as --dry_run,
of what takes long its flags."""

from pathlib import Path

import pytest

from tests.documented_commands import ROOT, Command, documented
from tests.front_checks import EXAMPLES, front_door

COMMANDS = documented()
RUNS = [each for each in COMMANDS if each.program == "run.py"]
AS_THEY_STAND = ("data_prep", "data_prep.chain", "data_prep.countdown", "data_prep.kk_logic", "eval.report")
"""Modules whose commands take a second or two."""

STAND_INS = {"out/<name>": str(ROOT / "models/tiny-countdown"), "FILE": "my_questions.jsonl", "RUN": "out/a"}
FEWER = {"10240": "64", "4500": "64", "4096": "64", "1024": "32", "500": "32", "256": "32"}
"""Problems to generate: the command is the same, the wait is not."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that is not the repository's, with the files that the pages' reader has."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "examples").symlink_to(ROOT / "examples")
    for own, example in (("questions", "questions"), ("answers", "preferences")):
        (folder / f"my_{own}.jsonl").write_bytes((EXAMPLES / f"{example}.jsonl").read_bytes())
    (folder / "my_reward.py").write_bytes((EXAMPLES / "reward.py").read_bytes())
    return folder


def plain(command: Command) -> list[str]:
    return [STAND_INS.get(word, word) for word in command.arguments if word != "..."]


@pytest.mark.parametrize("command", RUNS, ids=str)
def test_a_run_can_be_started(command: Command, place: Path) -> None:
    words = plain(command)
    if "--help" not in words and "--dry_run" not in words:
        at = words.index("--") if "--" in words else len(words)
        words[at:at] = ["--dry_run"]
    done = front_door(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
