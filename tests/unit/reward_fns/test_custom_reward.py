"""A user's own reward: how it is found, what it may return, and what the user is told when it does not work."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from reward_fns.custom import CustomRewardError, CustomVerdict, is_graded, load, run, score
from tests import ROOT

EXAMPLE = f"{ROOT / 'examples' / 'custom' / 'reward.py'}:reward"


def reward_file(folder: Path, body: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(body, encoding="utf-8")
    return f"{path}:reward"


def returning(folder: Path, expression: str) -> str:
    return reward_file(folder, f"def reward(response, answer):\n    return {expression}\n")


@pytest.mark.parametrize(
    ("response", "expected", "correct"),
    [
        ("7 * 12 = 84 </think>\n<answer> 25 </answer>", 1.0, True),
        ("the answer is 25", 0.0, False),
        ("<answer> 26 </answer>", 0.1, False),
        ("it is 250, or 1.25", 0.0, False),
    ],
)
def test_the_example_judges(response: str, expected: float, correct: bool) -> None:
    verdict = score(EXAMPLE, response, {"target": "25"})
    assert (verdict.score, verdict.correct) == (expected, correct)
    assert verdict.metrics == {"answered": float("<answer>" in response)}


def test_what_crosses_processes_is_json_and_makes_the_verdict_again() -> None:
    response = "</think><answer> 2\ud8005 </answer>"
    found = run(EXAMPLE, response, {"target": "25"})
    assert json.loads(json.dumps(found)) == found
    assert CustomVerdict(**found) == score(EXAMPLE, response, {"target": "25"})
    assert found["pred"] == "2\\ud8005"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("True", 1.0),
        ("False", 0.0),
        ("1", 1.0),
        ("0.25", 0.25),
        ("{'score': 0.5, 'steps': 3}", 0.5),
        ("__import__('numpy').float32(0.5)", 0.5),
        ("__import__('numpy').bool_(True)", 1.0),
        ("__import__('numpy').array([0.5])", 0.5),
        ("__import__('fractions').Fraction(1, 4)", 0.25),
    ],
)
def test_values_that_are_rewards(tmp_path: Path, expression: str, expected: float) -> None:
    verdict = score(returning(tmp_path, expression), "", "25")
    assert verdict.score == expected
    assert type(verdict.score) is float
    assert verdict.correct is (expected == 1.0)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("None", "returned None; return a number from 0 to 1"),
        ("'1.0'", "returned '1.0'; return a number"),
        ("float('nan')", "returned nan; return a finite number"),
        ("float('inf')", "returned inf"),
        ("1.5", "returned 1.5; a reward must be from 0 to 1"),
        ("-1", "returned -1; a reward must be from 0 to 1"),
        ("[1.0]", r"returned \[1.0\]"),
        ("{'acc': 1.0}", "a dict without 'score'"),
        ("__import__('numpy').ones(2)", r"returned array\(\[1., 1.\]\)"),
        ("1 / 0", r"mine.py:reward raised ZeroDivisionError: division by zero \(line 2: return 1 / 0\)"),
        ("exit(3)", "raised SystemExit"),
        ("10**400", r"returned 10{116}\.\.\.; return a finite number"),
        ("10**5000", "returned a value of type int; return a finite number"),
    ],
)
def test_values_that_are_none(tmp_path: Path, expression: str, message: str) -> None:
    with pytest.raises(CustomRewardError, match=message):
        score(returning(tmp_path, expression), "", "25")


@pytest.mark.parametrize(
    ("ground_truth", "seen"),
    [
        ({"target": "25"}, "25"),
        ({"target": "25", "question": "What is 5 * 5?", "numbers": None}, "25"),
        ("25", "25"),
        ({"numbers": [2, 3], "target": 6}, '{"numbers": [2, 3], "target": 6}'),
        ({"numbers": np.array([2, 3]), "target": 6}, '{"numbers": [2, 3], "target": 6}'),
        ({"target": 6}, "6"),
    ],
)
def test_the_function_gets_the_answer_as_text(tmp_path: Path, ground_truth: object, seen: str) -> None:
    assert score(returning(tmp_path, f"answer == {seen!r}"), "", ground_truth).correct


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def reward(response):\n    return 1.0\n",
            r"must take two or three texts, reward\(response, answer\) or .*, but it is reward",
        ),
        ("def reward(a, b, c, d):\n    return 1.0\n", "must take two or three texts"),
        ("def reward(*, response, answer):\n    return 1.0\n", "must take two or three texts"),
        ("def reward(**given):\n    return 1.0\n", "must take two or three texts"),
        ("class reward:\n    pass\n", "must take two or three texts"),
        ("reward = max\n", "must take two or three texts"),
        ("async def reward(a, b):\n    return 1.0\n", "must be a plain function"),
        ("class A:\n    async def __call__(self, a, b):\n        return 1\nreward = A()\n", "must be a plain function"),
        ("GRADED = 'yes'\ndef reward(a, b):\n    return 1.0\n", "GRADED = 'yes'; it must be True or False"),
        ("reward = 1.0\n", "must be a plain function"),
        ("def score(a, b):\n    return 1.0\n", "has no function 'reward'; it has score"),
        ("", "has no function 'reward'; it has none"),
        ("def reward(a, b)\n    return 1\n", r"importing the file raised SyntaxError: .*line 1"),
        ("import os\nraise RuntimeError('no licence')\n", r"raised RuntimeError: no licence \(line 2: raise"),
        ("import a_module_that_is_not_there\n", "raised ModuleNotFoundError: No module named 'a_module_that"),
        ("raise SystemExit(0)\n", "raised SystemExit"),
    ],
)
def test_files_that_hold_no_reward(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(CustomRewardError, match=message):
        load(reward_file(tmp_path, body))


@pytest.mark.parametrize("spec", ["mine.py", "mine:reward", "mine.py:", "mine.py:a b", ":reward", ""])
def test_specs_that_name_no_function(spec: str) -> None:
    with pytest.raises(CustomRewardError, match=r"does not name a reward function; write path/to/file\.py:function"):
        load(spec)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CustomRewardError, match=r"there is no file .*nowhere\.py"):
        load(f"{tmp_path / 'nowhere.py'}:reward")


def test_optional_arguments_neighbouring_modules_and_dataclasses_work(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_reward.py").write_text("FULL = 1.0\n")
    body = (
        "from dataclasses import dataclass\nfrom neighbour_of_reward import FULL\n"
        "@dataclass\nclass Found:\n    value: float\n"
        "def reward(response, answer, scale=0.5):\n    return Found(FULL * scale).value\n"
    )
    assert score(reward_file(tmp_path, body), "", "").score == 0.5


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("def reward(*texts): return len(texts) == 3", False),
        ("def reward(response, *rest): return len(rest) == 2", False),
        ("def reward(response, answer, **more): return bool(more)", False),
        ("def reward(response, answer, question=''): return question == 'Why?'", True),
        ("def reward(response, answer, asked): return asked == 'Why?'", True),
        ("def reward(response, answer, *, question): return question == 'Why?'", True),
        ("def reward(question, answer): return question == 'Why?'", False),
        ("reward = lambda response, answer, question: question == 'Why?'", True),
        ("import functools\nreward = functools.partial(lambda scale, r, a, question: question == 'Why?', 2)", True),
        ("class A:\n    def __call__(self, response, answer, question): return question == 'Why?'\nreward = A()", True),
    ],
)
def test_signatures_of_every_sort(tmp_path: Path, body: str, asked: bool) -> None:
    assert score(reward_file(tmp_path, body), "it is 2", "2", "Why?").correct is asked


def test_a_partial_function_is_graded_by_its_own_file(tmp_path: Path) -> None:
    body = "import functools\nGRADED = True\nreward = functools.partial(lambda scale, r, a: 0.5, 2)\n"
    assert is_graded(reward_file(tmp_path, body))


def test_a_changed_file_is_loaded_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    spec = returning(tmp_path, "0.25")
    assert score(spec, "", "").score == 0.25
    assert load(spec) is load(spec)
    returning(tmp_path, "0.75")
    os.utime(tmp_path / "mine.py", ns=(1, 1))
    assert math.isclose(score(spec, "", "").score, 0.75)


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = returning(tmp_path / "a", "0.25"), returning(tmp_path / "b", "0.75")
    assert [score(spec, "", "").score for spec in (first, second, first)] == [0.25, 0.75, 0.25]


OF_VERL = "data_source, solution_str, ground_truth, extra_info"


@pytest.mark.parametrize(
    "signature", [OF_VERL, f"{OF_VERL}=None", f"*, {OF_VERL}, **kwargs", "solution_str, ground_truth"]
)
def test_a_reward_written_for_verl_is_called_as_verl_calls_it(tmp_path: Path, signature: str) -> None:
    told = "data_source == 'math' and extra_info == {'question': 'What?'} and " if "data_source" in signature else ""
    body = f"def reward({signature}):\n    return {told}ground_truth == {{'a': 1}} and solution_str == 'one'\n"
    spec = reward_file(tmp_path, body)
    assert score(spec, "one", {"a": 1, "question": "What?"}, "What?", "math").score == 1.0
    assert score(spec, "two", {"a": 1}, "What?", "math").score == 0.0


def test_a_reward_written_for_verl_gets_an_answer_as_the_data_hold_it(tmp_path: Path) -> None:
    spec = reward_file(tmp_path, f"def reward({OF_VERL}=None):\n    return ground_truth == '25'\n")
    assert score(spec, "25", {"target": "25"}).score == 1.0


def test_a_reward_that_wants_more_than_verl_gives_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CustomRewardError, match="or what verl gives"):
        load(reward_file(tmp_path, f"def reward({OF_VERL}, model):\n    return 1.0\n"))


def test_what_a_verifier_says_besides_its_score_is_kept_where_it_is_a_number(tmp_path: Path) -> None:
    told = "{'score': 1.0, 'acc': True, 'pred': '25', 'why': None, 'steps': 10**400, 'share': 0.5}"
    assert score(returning(tmp_path, told), "25", "25").metrics == {"acc": 1.0, "share": 0.5}


def test_a_reward_that_ends_the_program_is_told_like_any_other_error(tmp_path: Path) -> None:
    for error in ("KeyboardInterrupt", "SystemExit", "GeneratorExit"):
        with pytest.raises(CustomRewardError, match=error):
            score(reward_file(tmp_path, f"def reward(response, answer):\n    raise {error}\n", f"{error}.py"), "", "")
