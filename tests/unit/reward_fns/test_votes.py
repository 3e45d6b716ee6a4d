"""Which answers vote together: by value, as mathematics, by what was read; and that evaluations store it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eval import evaluate as evaluation
from eval.evaluate import evaluate
from eval.generate import GREEDY
from eval.metrics import majority_at_k
from eval.problems import Problem, Settings
from reward_fns import votes as voting
from reward_fns.registry import LimitReached
from reward_fns.votes import votes

TRUTHS: dict[str, Any] = {
    "countdown": {"numbers": [1, 2], "target": 3},
    "math": {"target": r"\frac{1}{2}"},
    "vnhsge": {"choice": "B"},
    "kk_logic": {"names": ["Zoey", "Owen"], "solution": [True, False]},
    "general_knowledge": {"answers": ["Paris"]},
    "mine": {"target": "x"},
}


@pytest.mark.parametrize(
    ("source", "answers", "correct", "expected"),
    [
        ("countdown", ["1+2", "2 + 1", "(1+2)", "7", "7"], [1, 1, 1, 0, 0], [0, 0, 0, 3, 3]),
        # By value, whichever numbers it is made of; what has no value is told apart by its text.
        ("countdown", ["1 + 2", "4 - 1", "1 / 0", "2 / 0", None, "1 / 0"], [1, 0, 0, 0, 0, 0], [0, 0, 2, 3, None, 2]),
        ("math", [r"\frac12", "0.5", "1/2", "2", "2.0", "3"], [1, 1, 1, 0, 0, 0], [0, 0, 0, 3, 3, 5]),
        ("math", ["x+1", "1+x", "1/2", None, "1 + x"], [0, 0, 1, 0, 0], [0, 0, 2, None, 0]),
        ("math", [r"\sqrt{4}", "2"], [0, 0], [0, 1]),
        ("math", ["2", r"\sqrt{4}"], [0, 0], [0, 1]),
        ("gsm8k", ["1,000", "1000", "999"], [0, 0, 0], [0, 0, 2]),
        ("vnhsge", ["B", "(b)", "Đáp án B", "C"], [1, 1, 1, 0], [0, 0, 0, 3]),
        ("kk_logic", ["Zoey is a knight, Owen is a knave", "Owen: knave; Zoey: knight"], [1, 1], [0, 0]),
        ("general_knowledge", ["Paris", "paris.", "London"], [1, 1, 0], [0, 0, 2]),
        ("mine", ["a", "A", "a"], [0, 0, 0], [0, 1, 0]),
    ],
)
def test_equal_answers_have_one_vote(
    source: str, answers: list[str | None], correct: list[float], expected: list[int | None]
) -> None:
    assert votes(source, answers, correct, TRUTHS[source if source != "gsm8k" else "math"]) == expected


def test_three_ways_to_write_the_right_answer_beat_two_equal_wrong_ones() -> None:
    answers, right = ["1+2", "2+1", "(1+2)", "7", "7"], [1, 1, 1, 0, 0]
    assert majority_at_k(answers, right) == 0.0
    assert majority_at_k(votes("countdown", answers, right, TRUTHS["countdown"]), right) == 1.0


def test_a_named_reward_decides_what_equal_means() -> None:
    assert votes("mine", ["1+2", "3"], [0, 0], {"target": "3"}, reward="countdown") == [0, 0]
    assert votes("countdown", ["1+2", "2+1"], [0, 0], {}, reward="my.py:reward") == [0, 1]


def test_a_comparison_that_does_not_end_makes_two_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(answer: str, other: str) -> Any:
        raise LimitReached("no verdict within 5 s")

    monkeypatch.setattr(voting, "verify", hangs)
    assert votes("math", ["a", "b", "a"], [0, 0, 0], TRUTHS["math"]) == [0, 1, 0]


def test_right_answers_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(voting, "verify", lambda a, b: asked.append((a, b)) or {"equal": False})
    votes("math", ["1/2", "0.5", "3", "4", "50 %"], [1, 1, 0, 0, 1], TRUTHS["math"])
    assert asked == [("4", "3")]


def test_an_evaluation_counts_equal_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(4, [{"role": "user", "content": "1, 2 to 3"}], "countdown", TRUTHS["countdown"], None)
    said = ["1+2", "2+1", "7", "7", "nothing"]
    answers = [
        {"problem": 4, "sample": n, "input": "q", "output": f"</think><answer>{text}</answer>", "tokens": 3}
        for n, text in [*enumerate(said), (GREEDY, "7")]
    ]
    monkeypatch.setattr(evaluation, "load_problems", lambda settings: [problem])
    monkeypatch.setattr(evaluation, "generate", lambda *_: iter([[{**a, "truncated": False} for a in answers]]))
    settings = Settings(
        model="m", adapter=None, data="d", data_hash="h", sources=(), prompt_style="completion", reward=None,
        n_samples=5, temperature=1.0, top_p=1.0, max_prompt_length=8, max_response_length=8, limit=-1, seed=0,
        dtype="float32",
    )  # fmt: skip
    found: Any = evaluate(settings, tmp_path, device="cpu")
    assert (found["pooled"]["accuracy"], found["greedy"]["pooled"]["accuracy"]) == (0.4, 0.0)
    # Two votes for 3 by two spellings, two for 7: a fair draw.
    assert found["pooled"]["maj@5"] == 0.5
    assert '"vote": 0' in (tmp_path / "items.jsonl").read_text().splitlines()[1]
    assert '"vote": null' in (tmp_path / "items.jsonl").read_text().splitlines()[4]
    # Begun anew, nothing is left to ask; without its greedy answer a problem is asked again.
    monkeypatch.setattr(evaluation, "generate", lambda *_: iter([]))
    again: Any = evaluate(settings, tmp_path, device="cpu")
    assert (again["greedy"], again["pooled"]) == (found["greedy"], found["pooled"])
    (tmp_path / "greedy.jsonl").write_text("")
    asked: list[Any] = []
    monkeypatch.setattr(evaluation, "generate", lambda _, left, *__: asked.extend(left) or iter([]))
    with pytest.raises(ValueError, match="no answers to summarise"):
        evaluate(settings, tmp_path, device="cpu")
    assert asked == [problem]


def test_an_answer_with_a_line_separator_of_its_own_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    items = [{"problem": 0, "output": "a\u2028b\x85c"}, {"problem": 1, "output": "d"}]
    evaluation._append(file, items)
    with file.open("a") as torn:
        torn.write('{"problem": 2, "out')
    assert evaluation.whole_lines(file) == items
