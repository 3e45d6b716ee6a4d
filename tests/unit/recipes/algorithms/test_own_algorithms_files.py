"""A user's algorithm file: how it is loaded, and which are taken."""

import time
from functools import partial
from pathlib import Path

import pytest

from recipes.algorithms import AlgorithmFileError, algorithms, get_algorithm, time_limit
from recipes.checks.algorithm_check import refuse_unworkable
from recipes.common.errors import ExperimentError
from run import main
from tests import ROOT
from tests.helpers.own_algorithms import draws, field, options, refused, written
from tests.helpers.refusals import refusal

ODD = {
    "an end at import": ("import sys\nsys.exit()\n", "line 9: cannot be loaded: SystemExit"),
    "an end with success": ("raise SystemExit(0)\n", "line 8: cannot be loaded: SystemExit: 0"),
    "an error of two lines": ("raise ValueError('a\\nb')\n", "line 8: cannot be loaded: ValueError: a b"),
    "no Python": ("def rollout(:\n", "line 8: cannot be loaded: SyntaxError: invalid syntax"),
    "a module beside it": ("import beside\n", "its folder is not on the import path: merge the two files"),
    "a package that is not there": ("import nosuch\n", "line 8: cannot be loaded: ModuleNotFoundError: No module"),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_file_that_cannot_be_loaded_is_refused(odd: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "beside.py").touch()
    refused(tmp_path, capsys, *ODD[odd])


READS = """
class Draw:
    def NAME(self, s):
        return Hint(share=s.gate)
DRAW = Draw()
def rollout(at, s, rng):
    return USE(s)
""" + options("gate: float = 0.5", rollout="rollout", metrics="lambda step, s: {}")


GOOD = {
    "nothing of its own": field(),
    "a name with signs": field(name="'My-own_2.1'"),
    "sft": field(stages="('sft',)", needs="frozenset()"),
    "a partial": "def draw(n, at, s, rng):\n    return Hint(n)\n" + field(rollout="partial(draw, 1)"),
    "a hook with a default": "def rollout(at, s, rng, n=1):\n    return Hint(n)\n" + field(rollout="rollout"),
    "numbers of numpy": "import numpy as np\n"
    + draws("return Hint(np.int64(at.segments)) if at.step % 2 else Hint(share=np.float32(0.5))"),
    "demonstrations": draws("return [*[Bare()] * s.n_rollout, DEMO]", demonstrations="1") + "DEMO = Demonstration()\n",
    "demonstrations of the past": draws(
        "return [*[Bare()] * s.n_rollout, Demonstration() if at.past else Bare()]", demonstrations="1"
    ),
    "options of all kinds": options("one: bool = False\n    two: int = 1\n    three: float = 1\n    four: str = 'a'"),
    "another's option": options("gate: str = 'shut'"),
    "options with more in them": options("LIMIT = (1, 2)\n    one: float = 0.5\n    _hidden = 3"),
    "an option that an object reads": READS.replace("NAME", "__call__").replace("USE", "DRAW"),
    "an option that a method reads": READS.replace("NAME", "go").replace("USE", "DRAW.go"),
    "an option that a new object reads": READS.replace("NAME", "go").replace("USE", "Draw().go"),
    "settings": field(settings="{'kl_coef': 0, 'n_rollout': 3, 'logger': ('console',)}"),
}


@pytest.mark.parametrize("good", GOOD)
def test_a_file_that_works_is_taken(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--algo", written(tmp_path, GOOD[good]), "--profile", "cpu", "--dry_run"]) == 0, capsys.readouterr()


@pytest.mark.parametrize("name", algorithms())
def test_a_built_in_algorithm_would_be_taken_as_a_users_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.checks.algorithm_check.algorithms", dict)
    refuse_unworkable(algorithms()[name], name)


def test_the_example_is_taken() -> None:
    file = str(ROOT / "examples/own_algorithm.py")
    try:
        refuse_unworkable(get_algorithm(file), file)
    except ExperimentError as error:
        pytest.fail(str(error))


def test_a_folder_of_that_name_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").mkdir()
    assert "mine.py: is a folder" in refusal(capsys, "--algo", str(tmp_path / "mine.py"), "--dry_run")


@pytest.mark.parametrize(
    "body",
    ["pass", "try:\n        known['x']\n    except Exception:\n        continue"],
    ids=["loop", "exceptions caught"],
)
def test_a_file_that_never_ends_does_not_hold_up_the_start(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.algorithms.time_limit", partial(time_limit, 0.2))
    with pytest.raises(AlgorithmFileError, match="cannot be loaded: OutOfTimeError"):
        get_algorithm(written(tmp_path, f"while True:\n    {body}\n"))


def test_a_limit_ends_with_its_block() -> None:
    with time_limit(0.05):
        pass
    time.sleep(0.1)
