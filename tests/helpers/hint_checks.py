"""Rows with hints, rewards that users write, and what a run checks of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.prompt_styles import STYLES, Question, completion_prompt
from data_prep.schema import build_row
from recipes.data.data_check import check_training
from recipes.data.datafiles import locate
from recipes.data.hint_check import refuse_paid_hints
from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
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


def check(folder: Path, file: Path, reward: str, tokenizer: Any = None, **flags: Any) -> None:
    """Refuses a file whose hints alone score by that reward."""
    refuse_paid_hints(experiment(QUESTIONS, reward=reward_file(folder, reward), **flags), file, tokenizer)
