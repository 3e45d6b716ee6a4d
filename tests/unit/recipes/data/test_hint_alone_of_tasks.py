"""No hint alone scores in the tasks' own data."""

import json
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.chain import files as chain
from data_prep.countdown import generate as countdown
from data_prep.kk_logic import generate as kk_logic
from data_prep.math import convert as math_data
from data_prep.problems.prepare import prepare_file
from data_prep.prompt_styles import STYLES, restyle, restyle_file
from data_prep.schema import read_rows, write_rows
from recipes.common.errors import ExperimentError
from recipes.settings.tasks import TASKS
from reward_fns import compute_score
from tests.helpers.hint_checks import BOXED, EXAMPLES, row, start


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small data of every task that may be trained on from hints, and of the example of a user's own file."""
    folder = tmp_path_factory.mktemp("generated")
    countdown.prepare(folder / "countdown", n_train=200, n_test=20, seed=0)
    kk_logic.prepare(folder / "kk_logic", n_train=60, n_test=20, seed=0)
    chain.prepare(folder / "chain", n_train=100, n_test=20, seed=0)
    problems = [
        {
            "problem": f"What is {a} + {b}? In simplest form.",
            "solution": f"Both numbers count.\nFirst, ${a} = {a}$. {between} The sum is $\\boxed{{{a + b}}}$.{after}",
            "level": "Level 3",
        }
        for a in range(12)
        for b, (between, after) in enumerate(
            [("", ""), (f"So far $\\boxed{{{a}}}$.", ""), ("", f" Indeed, it is {a + 1}."), ("", "\n\nWe are done.")]
        )
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    math_data.prepare(folder / "math", str(folder / "problems.jsonl"), n_test=4)
    prepare_file(EXAMPLES / "questions.jsonl", folder / "custom")
    return {name: folder / name for name in ("countdown", "kk_logic", "chain", "math", "custom")}


def test_every_task_with_hints_is_generated(generated: dict[str, Path]) -> None:
    trained = {name for name, task in TASKS.items() if task.kind == "problems" and not task.only_for_evaluation}
    assert trained == generated.keys() - {"custom"}


@pytest.mark.parametrize("algo", ["uft", "r3", "stage"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["countdown", "kk_logic", "chain", "math", "custom"])
def test_the_tasks_own_data_are_accepted(generated: dict[str, Path], name: str, style: str, algo: str) -> None:
    flags = {"algo": algo, "prompt_style": style, "allow_overlap": True}
    refused = pytest.raises(ExperimentError, match="choose another --prompt_style")
    with nullcontext() if name not in TASKS or style in TASKS[name].prompt_styles else refused:
        start(generated[name], **flags)


def test_the_examples_own_data_are_accepted_with_its_own_reward(generated: dict[str, Path]) -> None:
    start(generated["custom"], reward=f"{EXAMPLES / 'reward.py'}:reward")


@pytest.mark.parametrize(
    ("generation", "expected"),
    [("", 0.0), (" I do not know.", 0.0), (" </think>\n<answer> 26 </answer>", 0.1), ("<answer> 25 </answer>", 1.0)],
)
def test_the_examples_reward_pays_what_was_generated(generation: str, expected: float) -> None:
    reward = f"{EXAMPLES / 'reward.py'}:reward"
    hint = "The baker makes 84 rolls.\nAfter selling 59 of them, 25 rolls are left."
    assert compute_score("custom", hint + generation, {"target": "25"}, reward=reward)["score"] == expected


PIECES = st.sampled_from(
    [
        "We count all of them.\n",
        "The first is $x = \\frac{1}{2}$. ",
        "Hence it is 7, as was to be shown. ",
        "\n",
        "This gives $\\boxed{7}$. ",
        "This gives $$y = \\boxed{\\frac{1}{2}}.$$",
        "One step gives \\boxed 7 and no more.\n",
        "In all \\boxed {12} of them.\n",
        "The vowels are $\\fbox{7}$. ",
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=6), st.integers(0, 6), st.sampled_from(BOXED))
def test_no_hint_of_mathematics_scores_in_a_boxed_style(pieces: list[str], at: int, style: str) -> None:
    pieces.insert(at, "The answer is $\\boxed{9}$. ")
    solved = {"problem": "How many?", "solution": "".join(pieces), "level": "Level 4"}
    restyled = restyle(math_data.to_row(solved, 0, "train"), STYLES[style], "row")
    assert restyled["answer"].startswith("".join(restyled["hint"]))
    truth = restyled["reward_model"]["ground_truth"]
    for n in range(1, len(restyled["hint"]) + 1):
        alone = "".join(restyled["hint"][:n])
        for text in (alone, alone + " I do not know.", alone + "}"):
            assert compute_score("math", text, truth, answer_format="boxed")["score"] == 0.0


def test_a_file_of_solutions_without_hints_is_written_and_read_again(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", [row(n, [f"It is $\\boxed{{{1000 + n}}}$."]) for n in range(3)])
    restyle_file(tmp_path / "a.parquet", tmp_path / "b.parquet", STYLES["none"])
    assert [found["hint"] for found in read_rows(tmp_path / "b.parquet")] == [[], [], []]
    assert pq.read_schema(tmp_path / "b.parquet").field("hint").type == pa.list_(pa.string())
