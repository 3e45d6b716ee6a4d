"""Refuses data, rewards and tokenizers by which the data's own solutions are not right: nothing could be learnt."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from data_prep.hushed import hushed
from data_prep.prompt_styles import question_text
from data_prep.tokens import closed, decode_response
from recipes.common.errors import ExperimentError
from recipes.data.stored_tokenizer import StoredTokenizer
from recipes.settings.experiment import Experiment
from recipes.watch.scratch import PREFIX
from reward_fns import LEAST_ACCEPTED, compute_score, has_failed, is_custom, is_graded

_REWARD_SAMPLE = 64
_FAILED_AT_ONCE = 2
"""Verdicts that fail, of the first rows, without a single one that does not: it is the reward, and more would take as
long again."""

_SHOWN = 80


def file_name(experiment: Experiment, train: Path) -> str:
    """What a message calls the training file: one that --dry_run made for a moment is gone when it is read."""
    made = train.parent.name.startswith(PREFIX)
    return f"the training part of {experiment.data}" if made else str(train)


def refuse_unpaid_solutions(experiment: Experiment, train: Path, tokenizer: StoredTokenizer | None) -> None:
    """The data's own solutions must be right by the reward they are trained with: the cheapest test of both.

    They are judged as responses are: encoded and decoded by the model's tokenizer, if it is here.

    Raises:
        ExperimentError: naming the first row that is not paid, and the tokenizer if it changed the solution.
    """
    graded = is_graded(experiment.reward)
    columns = ["answer", "data_source", "reward_model", "prompt"]
    rows = next(parquet.ParquetFile(train).iter_batches(_REWARD_SAMPLE, columns=columns)).to_pylist()
    refused: list[tuple[int, Any, str, Any]] = []
    for number, row in enumerate(rows):
        answer = row["answer"]
        response = answer if tokenizer is None else decode_response(tokenizer, closed(tokenizer, answer))
        try:
            with hushed("reward_fns"):
                found = compute_score(
                    row["data_source"],
                    response,
                    row["reward_model"]["ground_truth"],
                    {"question": question_text(row["prompt"])},
                    reward=experiment.reward,
                )
        except ValueError as error:
            raise ExperimentError(f"{file_name(experiment, train)}, row {number}: {error}") from None
        if has_failed(found) or (found["acc"] != 1.0 and not graded):
            refused.append((number, row, response, found))
        failing = is_custom(experiment.reward) and all(has_failed(each[3]) for each in refused)
        if failing and len(refused) == number + 1 == _FAILED_AT_ONCE:
            said = str(found["pred"])
            named = said if said.startswith(str(experiment.reward)) else f"{experiment.reward}: {said}"
            raise ExperimentError(
                f"--reward {named} (on the data's own solution of {question_text(row['prompt'])[:_SHOWN]!r})"
            )
    if len(rows) - len(refused) < LEAST_ACCEPTED * len(rows):
        number, row, response, found = refused[0]
        read = response if response.strip() != row["answer"].strip() else ""
        raise ExperimentError(
            f"the reward does not accept the data's own solutions: {len(refused)} of the first {len(rows)} rows of "
            f"{file_name(experiment, train)} score below 1. First: row {number} scores {found['score']}, read as "
            f"{found['pred']!r}, the question begins {question_text(row['prompt'])[:_SHOWN]!r}, the solution ends "
            f"{row['answer'][-_SHOWN:]!r}, ground truth {row['reward_model']['ground_truth']}. "
            + (f"The tokenizer of {experiment.model} makes {read[-_SHOWN:]!r} of it. " if read else "")
            + "Fix the data, or choose another --reward or --model."
        )
