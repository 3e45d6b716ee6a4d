"""A hint alone must not score: data and rewards for which it does are refused before a run starts."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from data_prep.chain import files as chain
from data_prep.countdown import generate as countdown
from data_prep.kk_logic import generate as kk_logic
from data_prep.math import convert as math_data
from data_prep.problems.prepare import prepare_file
from data_prep.prompt_styles import STYLES, Question, completion_prompt, restyle, restyle_file
from data_prep.schema import build_row, read_rows, write_rows
from recipes.common.errors import ExperimentError
from recipes.data import hint_check
from recipes.data.data_check import check_training
from recipes.data.datafiles import locate
from recipes.data.hint_check import refuse_paid_hints
from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.tasks import TASKS
from reward_fns import compute_score
from tests import ROOT

EXAMPLES = ROOT / "examples/custom"
QUESTIONS = EXAMPLES / "questions.jsonl"
BOXED = [name for name, style in STYLES.items() if style.answer_format == "boxed"]

ANYWHERE = "def reward(response, answer):\n    return float(answer in response)\n"
IN_TAGS = "def reward(response, answer):\n    return float(f'<answer> {answer} </answer>' in response)\n"


def row(number: int, hint: Sequence[str], data_source: str = "math") -> dict[str, Any]:
    """A row whose answer is 1000 + number."""
    gold = str(1000 + number)
    return dict(
        build_row(
            prompt=completion_prompt(Question(f"What is 1000 + {number}?", "12")),
            hint=hint,
            final_answer=gold,
            data_source=data_source,
            ability="math",
            ground_truth={"target": gold},
            index=number,
            split="train",
        )
    )


def file_of(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """The rows as anybody's tool writes them, unchecked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def folder_of(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file_of(path / "train.parquet", rows)
    file_of(path / "test.parquet", [row(500 + number, ["We add."]) for number in range(4)])
    return path


def reward_file(folder: Path, text: str) -> str:
    # A name of its own: the pool remembers verdicts by file, answer and gold answer.
    path = folder / f"reward_{len(list(folder.glob('reward_*.py')))}.py"
    path.write_text(text)
    return f"{path}:reward"


def experiment(data: Path | str, **flags: Any) -> Experiment:
    # The embedded tokenizer spells most words of the other tasks letter by letter.
    room = {"max_prompt_length": 4096, "tokens_per_micro_batch": 8192}
    return build_experiment({"algo": "uft", "data": str(data), "batch_size": 8, **room, **flags}, PROFILES["cpu"])


def start(data: Path, **flags: Any) -> None:
    """What a run checks before it starts."""
    e = experiment(data, **flags)
    check_training(e, locate(e, ROOT))


def telling(number: int) -> list[str]:
    return ["We add.\n", f"The sum is {1000 + number}."]


def silent(number: int) -> list[str]:
    return ["We add.\n", "The sum is plain to see."]


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
    file, spec = file_of(tmp_path / "train.parquet", rows), reward_file(tmp_path, at_the_end)
    refuse_paid_hints(experiment(QUESTIONS, reward=spec), file)
    with pytest.raises(ExperimentError, match=r"the first 2 of the 3 texts in column hint, scores 1; it ends .* 1000'"):
        refuse_paid_hints(experiment(QUESTIONS, reward=spec), file, tokenizer)


def test_a_solution_that_does_not_begin_with_its_hint_is_named(tmp_path: Path) -> None:
    odd = {**row(3, ["We add.\n"], "mine"), "answer": "We multiply. </think>\n<answer> 1003 </answer>"}
    file = file_of(tmp_path / "train.parquet", [row(0, ["We add.\n"], "mine"), odd])
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/tiny-countdown")
    spec = reward_file(tmp_path, IN_TAGS)
    with pytest.raises(ExperimentError, match=r"train\.parquet, row 1: the first 1 texts of column 'hint' are not"):
        refuse_paid_hints(experiment(QUESTIONS, reward=spec), file, tokenizer)


def test_the_end_of_a_long_hint_is_shown(tmp_path: Path) -> None:
    hint = ["x" * 500, f"{'y' * 70} is 1000."]
    file = file_of(tmp_path / "train.parquet", [row(0, hint, "mine")])
    with pytest.raises(ExperimentError, match=f"it ends 'x+{'y' * 70} is 1000.'") as refused:
        refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(tmp_path, ANYWHERE)), file)
    assert len(str(refused.value)) < 900


def test_answer_tags_in_a_hint_are_found_in_files_made_by_hand(tmp_path: Path) -> None:
    rows = [row(n, silent(n)) for n in range(16)]
    hint = ["We add.\n", "So </think>\n<answer> 1009 </answer>", " is the answer. ", "It is."]
    rows[9] |= {"hint": hint, "answer": "".join(hint)}
    data = folder_of(tmp_path / "data", rows)
    with pytest.raises(ExperimentError, match=r"row 9: a hint alone, the first 2 of the 4 texts .* 1009 </answer>'"):
        start(data)


def test_a_graded_reward_must_not_like_the_hint_as_much_as_the_solution(tmp_path: Path) -> None:
    file = file_of(tmp_path / "train.parquet", [row(n, telling(n), "mine") for n in range(8)])
    graded = "GRADED = True\ndef reward(response, answer):\n    "
    as_much = experiment(QUESTIONS, reward=reward_file(tmp_path, graded + "return 0.7 * (answer in response)\n"))
    with pytest.raises(ExperimentError, match=r"row 0: .* scores 0\.7, and the full solution 0\.7; .*8 of the 8 rows"):
        refuse_paid_hints(as_much, file)
    less = "return 0.3 * (answer in response) + 0.1 * ('</answer>' in response)\n"
    refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(tmp_path, graded + less)), file)
    nothing = "return 0\n"
    refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(tmp_path, graded + nothing)), file)


def test_a_users_reward_must_not_pay_any_hint_also_a_shorter_one(tmp_path: Path) -> None:
    """The last number of a response: right after the second text, wrong again after the third."""
    hints = [["We add. ", f"The sum is {1000 + n}. ", "To check, take away 7 and we are back."] for n in range(9)]
    file = file_of(tmp_path / "train.parquet", [row(n, hint, "mine") for n, hint in enumerate(hints)])
    numbers = "re.findall('[0-9]+', response) or ['']"
    last = f"import re\ndef reward(response, answer):\n    return ({numbers})[-1] == answer\n"
    with pytest.raises(ExperimentError, match=r"a hint alone, the first 2 of the 3 texts .*9 of the 9 rows"):
        refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(tmp_path, last)), file)


def test_partial_credit_for_a_hint_is_the_same_for_all_rollouts_of_a_prompt_and_accepted(tmp_path: Path) -> None:
    file = file_of(tmp_path / "train.parquet", [row(n, telling(n), "mine") for n in range(8)])
    some = "def reward(response, answer):\n    return 0.2 + 0.8 * ('</answer>' in response)\n"
    refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(tmp_path, some)), file)


def test_a_verdict_that_failed_pays_nothing(tmp_path: Path) -> None:
    file = file_of(tmp_path / "train.parquet", [row(n, telling(n), "mine") for n in range(4)])
    failing = "def reward(response, answer):\n    return 1 / ('</answer>' in response)\n"
    refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(tmp_path, failing)), file)


def test_the_question_goes_to_the_reward(tmp_path: Path) -> None:
    file = file_of(tmp_path / "train.parquet", [row(n, silent(n), "mine") for n in range(4)])
    asking = "def reward(response, answer, question):\n    return float(question == 'What is 1000 + 2?')\n"
    with pytest.raises(ExperimentError, match="row 2"):
        refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(tmp_path, asking)), file)


def test_a_row_that_no_reward_judges_is_named(tmp_path: Path) -> None:
    rows = [row(n, silent(n)) for n in range(80)]
    rows[70]["data_source"] = "unheard of"
    with pytest.raises(ExperimentError, match=r"train\.parquet, row 70, column data_source: no reward function"):
        start(folder_of(tmp_path / "data", rows))


@pytest.mark.parametrize("style", STYLES)
def test_what_is_checked_is_what_is_trained_on(tmp_path: Path, style: str) -> None:
    """In a boxed style a hint that tells the answer ends before it; a reward that reads any box is paid elsewhere."""
    hints = [["We add.\n", f"It is $\\boxed{{{1000 + n}}}$. ", "Done."] for n in range(8)]
    file = file_of(tmp_path / "train.parquet", [row(n, hint) for n, hint in enumerate(hints)])
    refuse_paid_hints(experiment(QUESTIONS, prompt_style=style), file)
    reads_boxes = experiment(
        QUESTIONS, prompt_style=style, reward=reward_file(tmp_path, ANYWHERE.replace("answer in", "'boxed' in"))
    )
    if style in BOXED:
        refuse_paid_hints(reads_boxes, file)
    else:
        with pytest.raises(ExperimentError, match="row 0: a hint alone, the first 2 of the 3 texts"):
            refuse_paid_hints(reads_boxes, file)


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


def test_rows_without_hints_are_accepted(tmp_path: Path) -> None:
    always = reward_file(tmp_path, "def reward(response, answer):\n    return 1\n")
    write_rows(tmp_path / "train.parquet", [row(n, [], "mine") for n in range(8)])
    refuse_paid_hints(experiment(QUESTIONS, reward=always), tmp_path / "train.parquet")


def test_rows_come_from_all_over_the_file(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    counting = (
        f"def reward(response, answer):\n    with open({str(calls)!r}, 'a') as file:\n"
        "        file.write(answer + '\\n')\n    return 0\n"
    )
    rows = [row(n, silent(n) if n % 2 else [], "mine") for n in range(1000)]
    refuse_paid_hints(
        experiment(QUESTIONS, reward=reward_file(tmp_path, counting)), file_of(tmp_path / "train.parquet", rows)
    )
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
    if name in TASKS and style not in TASKS[name].prompt_styles:
        with pytest.raises(ExperimentError, match="choose another --prompt_style"):
            start(generated[name], **flags)
    else:
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
