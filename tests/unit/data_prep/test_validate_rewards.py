"""`python -m data_prep validate`: the columns and the ground truth that each reward asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.__main__ import main
from tests.helpers.validate_checks import EXAMPLE, GOOD, complaint, file_of


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"numbers": [1, 2], "target": 3}, "no column for the answer"),
        ({"target": 3, "answer": "1 + 2"}, "no column for the numbers"),
        ({"numbers": "one two", "target": 3, "answer": "1 + 2"}, "column numbers: not a list of whole numbers"),
        (
            {"numbers": [1, 2.5], "target": 3, "answer": "1 + 2"},
            "column numbers: not a list of whole numbers ([1, 2.5])",
        ),
        ({"numbers": [1, 2], "target": "three", "answer": "1 + 2"}, "column target: not a whole number ('three')"),
        ({"numbers": [1, 2], "target": None, "answer": "1 + 2"}, "column target: empty"),
    ],
)
def test_countdown_asks_for_its_own_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cells: dict[str, object], expected: str
) -> None:
    err = complaint(capsys, file_of(tmp_path, json.dumps(cells)), "--reward", "countdown")
    assert expected in err
    assert "the countdown reward needs the numbers" in err or "empty" in expected


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (None, "column ground_truth: not an object with the lists names and solution"),
        ({"names": ["Ann"]}, "not an object with the lists"),
        ({"names": ["Ann", "Ben"], "solution": [True]}, "column ground_truth: the kk_logic reward cannot use this"),
        ({"names": ["Ann"], "solution": [1]}, "the kk_logic reward cannot use this"),
    ],
)
def test_logic_asks_for_its_own_ground_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], truth: object, expected: str
) -> None:
    row = json.dumps({"question": "Who?", "ground_truth": truth})
    assert expected in complaint(capsys, file_of(tmp_path, row), "--reward", "kk_logic")
    err = complaint(capsys, file_of(tmp_path, GOOD), "--reward", "kk_logic")
    assert "no column for the ground_truth" in err
    assert '{"names": ["Zoey", "Ava"], "solution": [true, false]}' in err


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "return None",
            "row 1: {spec} returned None; return a number from 0 to 1, True or False (and on 1 more",
        ),
        ("raise KeyError('k')", "row 1: {spec} raised KeyError: 'k' (line 2: raise KeyError('k'))"),
        ("return 0", "the reward is below 1 for the file's own answer in 12 rows tried: row 1, 2,"),
        ("while True: pass", "the reward failed on row 1: no verdict within"),
    ],
)
def test_a_reward_that_would_be_refused_at_the_start_is_refused_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, expected: str
) -> None:
    spec = f"{file_of(tmp_path, f'def reward(response, answer):{chr(10)}    {body}', 'mine.py')}:reward"
    assert main(["validate", str(EXAMPLE), "--reward", spec]) == 1
    shown = capsys.readouterr()
    assert expected.format(spec=spec) in shown.err
    assert ("waiting for --reward" in shown.out) is ("while" in body)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        ("maths", "there is no such reward; name a reward with --reward: countdown, kk_logic, math, or your own"),
        ("nowhere.py:reward", "there is no file nowhere.py"),
        ("nowhere.py", "write path/to/file.py:function"),
    ],
)
def test_a_reward_that_does_not_exist_is_explained(
    capsys: pytest.CaptureFixture[str], reward: str, expected: str
) -> None:
    assert expected in complaint(capsys, str(EXAMPLE), "--reward", reward)
