"""Hints are judged as a run gives them: of rows from all over the file, as they are cut, styled and written."""

from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from data_prep.prompt_styles import STYLES, restyle
from recipes.common.errors import ExperimentError
from recipes.data import hint_check
from recipes.data.hint_check import refuse_paid_hints
from tests import ROOT
from tests.helpers.hint_checks import (
    ANYWHERE,
    BOXED,
    IN_TAGS,
    QUESTIONS,
    check,
    experiment,
    file_of,
    folder_of,
    reward_file,
    row,
    silent,
    start,
)


@pytest.mark.parametrize("control", [{"hints": "sham"}, {"demonstration_noise": 1.0}])
def test_the_solutions_that_a_run_leaves_are_the_ones_that_are_judged(tmp_path: Path, control: dict[str, Any]) -> None:
    """A reward that is paid by any other answer than the row's own: silent on the data, paid by a control."""
    rows = [row(n, ["We add.\n", f"It is {1000 + n}."], "mine") for n in range(24)]
    others = (
        "def reward(response, answer):\n"
        "    return float('<answer> ' + answer in response or (' is 1' in response and answer not in response))\n"
    )
    data, spec = folder_of(tmp_path / "data", rows), reward_file(tmp_path, others)
    start(data, reward=spec)
    with pytest.raises(ExperimentError, match="a hint alone, the first 2 of the 2 texts"):
        start(data, reward=spec, **control)


def test_a_hint_is_judged_as_it_is_cut_in_a_rollout(tmp_path: Path) -> None:
    """The token ".\\n" straddles the end of the second text, so a rollout begins without the full stop."""
    hints = [["We add.\n", f"The sum is {1000 + n}.", "\nThat is all"] for n in range(9)]
    text = Tokenizer(BPE())
    split = Split(Regex(r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s?\p{L}+|\s+"), "isolated")
    text.pre_tokenizer = pre_tokenizers.Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    text.decoder = Decoder()
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=ByteLevel.alphabet(), special_tokens=["<e>"])
    text.train_from_iterator([*["".join(hint) for hint in hints] * 5, *[".\n"] * 50], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=text, eos_token="<e>")
    at_the_end = (
        "def reward(response, answer):\n    return float(response.endswith(' ' + answer) or '<answer>' in response)\n"
    )
    rows = [row(n, hint, "mine") for n, hint in enumerate(hints)]
    file = file_of(tmp_path / "train.parquet", rows)
    check(tmp_path, file, at_the_end)
    with pytest.raises(ExperimentError, match=r"the first 2 of the 3 texts in column hint, scores 1; it ends .* 1000'"):
        check(tmp_path, file, at_the_end, tokenizer)


def test_a_solution_that_does_not_begin_with_its_hint_is_named(tmp_path: Path) -> None:
    odd = {**row(3, ["We add.\n"], "mine"), "answer": "We multiply. </think>\n<answer> 1003 </answer>"}
    file = file_of(tmp_path / "train.parquet", [row(0, ["We add.\n"], "mine"), odd])
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/tiny-countdown")
    with pytest.raises(ExperimentError, match=r"train\.parquet, row 1: the first 1 texts of column 'hint' are not"):
        check(tmp_path, file, IN_TAGS, tokenizer)


@pytest.mark.parametrize("style", STYLES)
def test_what_is_checked_is_what_is_trained_on(tmp_path: Path, style: str) -> None:
    """In a boxed style a hint that tells the answer ends before it; a reward that reads any box is paid elsewhere."""
    hints = [["We add.\n", f"It is $\\boxed{{{1000 + n}}}$. ", "Done."] for n in range(8)]
    file = file_of(tmp_path / "train.parquet", [row(n, hint) for n, hint in enumerate(hints)])
    refuse_paid_hints(experiment(QUESTIONS, prompt_style=style), file)
    refused = pytest.raises(ExperimentError, match="row 0: a hint alone, the first 2 of the 3 texts")
    with nullcontext() if style in BOXED else refused:
        check(tmp_path, file, ANYWHERE.replace("answer in", "'boxed' in"), prompt_style=style)


def test_a_hint_that_is_not_cut_before_its_box_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check does not lean on the cut: with the old way of restyling it names the first hint with the answer."""
    monkeypatch.setattr(
        hint_check, "restyle", lambda row, style, where: {**restyle(row, style, where), "hint": row["hint"]}
    )
    hint = ["We add.\n", "It is $\\boxed{1000}$. ", "Done."]
    file = file_of(tmp_path / "train.parquet", [row(0, hint)])
    with pytest.raises(
        ExperimentError, match=r"row 0: a hint alone, the first 2 of the 3 texts in column hint, scores"
    ):
        refuse_paid_hints(experiment(QUESTIONS, prompt_style="none"), file)
    refuse_paid_hints(experiment(QUESTIONS), file)


def test_questions_that_cannot_be_told_apart_are_named(tmp_path: Path) -> None:
    rows = [row(n, silent(n)) for n in range(8)]
    rows[3]["prompt"] = [{"role": "user", "content": "What is 1000 + 3?"}]
    with pytest.raises(ExperimentError, match="row 3, column prompt: not in the completion style"):
        start(folder_of(tmp_path / "data", rows), prompt_style="none")


def test_rows_come_from_all_over_the_file(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    counting = (
        f"def reward(response, answer):\n    with open({str(calls)!r}, 'a') as file:\n"
        "        file.write(answer + '\\n')\n    return 0\n"
    )
    rows = [row(n, silent(n) if n % 2 else [], "mine") for n in range(1000)]
    check(tmp_path, file_of(tmp_path / "train.parquet", rows), counting)
    called = [int(line) - 1000 for line in calls.read_text().split()]
    assert len(called) >= 64
    assert all(number % 2 for number in called), "rows without a hint were chosen"
    # A check that ends early, as one that asks a server does, has seen all parts of the file.
    first = sorted(set(called[:64]))
    assert first[0] < 100
    assert first[-1] > 900
    assert max(b - a for a, b in pairwise(first)) <= 200


def test_a_built_in_reward_tries_every_hint_of_a_file_of_usual_size(tmp_path: Path) -> None:
    rows = [row(n, ["We add.\n"] * 9) for n in range(1000)]
    hint = [*["We add.\n"] * 4, "</think><answer> 1777 </answer>", *["We add.\n"] * 4]
    rows[777] |= {"hint": hint}
    with pytest.raises(ExperimentError, match=r"row 777: .* first 5 of the 9 texts .*\(1 of the 1000 rows checked"):
        refuse_paid_hints(experiment(QUESTIONS), file_of(tmp_path / "train.parquet", rows))
