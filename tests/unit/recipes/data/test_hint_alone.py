"""A hint alone must not score: a reward for which it does is refused before a run starts."""

from pathlib import Path

import pytest

from data_prep.schema import write_rows
from recipes.common.errors import ExperimentError
from tests.helpers.hint_checks import (
    ANYWHERE,
    IN_TAGS,
    check,
    file_of,
    folder_of,
    reward_file,
    row,
    silent,
    start,
    telling,
)


def test_a_reward_that_searches_the_whole_response_is_refused(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", [row(n, telling(n) if n == 11 else silent(n), "mine") for n in range(24)])
    spec = reward_file(tmp_path, ANYWHERE)
    with pytest.raises(ExperimentError) as refused:
        start(data, reward=spec)
    message = str(refused.value)
    assert message.startswith(f"{data / 'train.parquet'}, row 11: a hint alone, the first 2 of the 2 texts in column")
    assert "scores 1; it ends 'We add.\\nThe sum is 1011.'" in message
    assert "(1 of the 24 rows checked have such a hint)" in message
    assert "a --reward that reads only the final answer, or train without hints (--algo rft or sft)" in message
    # The same reward with rollouts from the bare prompt, and the same data with a reward that reads the answer.
    start(data, reward=spec, algo="rft")
    start(data, reward=reward_file(tmp_path, IN_TAGS))


def test_the_end_of_a_long_hint_is_shown(tmp_path: Path) -> None:
    hint = ["x" * 500, f"{'y' * 70} is 1000."]
    file = file_of(tmp_path / "train.parquet", [row(0, hint, "mine")])
    with pytest.raises(ExperimentError, match=f"it ends 'x+{'y' * 70} is 1000.'") as refused:
        check(tmp_path, file, ANYWHERE)
    assert len(str(refused.value)) < 900


def test_answer_tags_in_a_hint_are_found_in_files_made_by_hand(tmp_path: Path) -> None:
    rows = [row(n, silent(n)) for n in range(16)]
    hint = ["We add.\n", "So </think>\n<answer> 1009 </answer>", " is the answer. ", "It is."]
    rows[9] |= {"hint": hint, "answer": "".join(hint)}
    data = folder_of(tmp_path / "data", rows)
    with pytest.raises(ExperimentError, match=r"row 9: a hint alone, the first 2 of the 4 texts .* 1009 </answer>'"):
        start(data)


REWARD = "def reward(response, answer):\n    return "
GRADED = "GRADED = True\n" + REWARD


def test_a_graded_reward_must_not_like_the_hint_as_much_as_the_solution(tmp_path: Path) -> None:
    file = file_of(tmp_path / "train.parquet", [row(n, telling(n), "mine") for n in range(8)])
    with pytest.raises(ExperimentError, match=r"row 0: .* scores 0\.7, and the full solution 0\.7; .*8 of the 8 rows"):
        check(tmp_path, file, GRADED + "0.7 * (answer in response)\n")


@pytest.mark.parametrize(
    "reward",
    [
        GRADED + "0.3 * (answer in response) + 0.1 * ('</answer>' in response)\n",
        GRADED + "0\n",
        # The same for all rollouts of a prompt.
        REWARD + "0.2 + 0.8 * ('</answer>' in response)\n",
        REWARD + "1 / ('</answer>' in response)\n",
    ],
    ids=["more for the solution", "nothing", "partial credit", "no verdict"],
)
def test_a_reward_that_pays_no_hint_is_accepted(reward: str, tmp_path: Path) -> None:
    check(tmp_path, file_of(tmp_path / "train.parquet", [row(n, telling(n), "mine") for n in range(8)]), reward)


def test_a_shorter_hint_must_not_be_paid_either(tmp_path: Path) -> None:
    """The last number of a response: right after the second text, wrong again after the third."""
    hints = [["We add. ", f"The sum is {1000 + n}. ", "To check, take away 7 and we are back."] for n in range(9)]
    file = file_of(tmp_path / "train.parquet", [row(n, hint, "mine") for n, hint in enumerate(hints)])
    numbers = "re.findall('[0-9]+', response) or ['']"
    last = f"import re\ndef reward(response, answer):\n    return ({numbers})[-1] == answer\n"
    with pytest.raises(ExperimentError, match=r"a hint alone, the first 2 of the 3 texts .*9 of the 9 rows"):
        check(tmp_path, file, last)


def test_the_question_goes_to_the_reward(tmp_path: Path) -> None:
    file = file_of(tmp_path / "train.parquet", [row(n, silent(n), "mine") for n in range(4)])
    asking = "def reward(response, answer, question):\n    return float(question == 'What is 1000 + 2?')\n"
    with pytest.raises(ExperimentError, match="row 2"):
        check(tmp_path, file, asking)


def test_a_row_that_no_reward_judges_is_named(tmp_path: Path) -> None:
    rows = [row(n, silent(n)) for n in range(80)]
    rows[70]["data_source"] = "unheard of"
    with pytest.raises(ExperimentError, match=r"train\.parquet, row 70, column data_source: no reward function"):
        start(folder_of(tmp_path / "data", rows))


def test_rows_without_hints_are_accepted(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.parquet", [row(n, [], "mine") for n in range(8)])
    check(tmp_path, tmp_path / "train.parquet", REWARD + "1\n")
