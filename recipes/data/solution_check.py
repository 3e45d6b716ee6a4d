"""Refuses data, rewards and tokenizers for which the data's own solutions score as wrong: nothing could be learned."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from data_prep.hushed import hushed
from data_prep.prompt_styles import question_text
from data_prep.schema import solution_of
from data_prep.split import rows_by_chance
from data_prep.tokens import closed, decode_response
from recipes.common.errors import ExperimentError
from recipes.data.stored_tokenizer import StoredTokenizer
from recipes.settings.applies import reads_solutions
from recipes.settings.experiment import Experiment
from recipes.watch.scratch import PREFIX
from reward_fns import LEAST_ACCEPTED, compute_score, has_failed, is_custom, is_graded

_REWARD_SAMPLE = 64
_TRIED_FIRST = 2
"""Rows on which a user's reward is tried first: if it fails on all of them, the reward is to blame."""

WRONG = "I do not know."
"""A response that is wrong under any reward."""

_SHOWN = 80


def file_name(experiment: Experiment, file: Path) -> str:
    """Name of a data file in messages: for temporary files of --dry_run, the name of their source."""
    if not file.parent.name.startswith(PREFIX):
        return str(file)
    if file.stem == "train":
        return f"the training part of {experiment.data}"
    return f"--val_data {experiment.val_data}" if experiment.val_data else f"the test part of {experiment.data}"


def _judged(experiment: Experiment, file: Path, number: int, row: dict[str, Any], response: str) -> dict[str, Any]:
    try:
        with hushed("reward_fns"):
            return compute_score(
                row["data_source"],
                response,
                row["reward_model"]["ground_truth"],
                {"question": question_text(row["prompt"])},
                reward=experiment.reward,
            )
    except ValueError as error:
        raise ExperimentError(f"{file_name(experiment, file)}, row {number}: {error}") from None


def _rows(file: Path, count: int) -> list[dict[str, Any]]:
    columns = ["answer", "data_source", "reward_model", "prompt"]
    rows: list[dict[str, Any]] = next(parquet.ParquetFile(file).iter_batches(count, columns=columns)).to_pylist()
    return rows


def refuse_failing_reward(experiment: Experiment, file: Path) -> None:
    """A user's reward must be able to score the data's own solutions and a wrong answer.

    Raises:
        ExperimentError: with what it raised, and for which of the two.
    """
    if not is_custom(experiment.reward):
        return
    rows = _rows(file, _TRIED_FIRST)
    for wrong in (False, True):
        found = [
            _judged(experiment, file, number, row, WRONG if wrong else row["answer"]) for number, row in enumerate(rows)
        ]
        # With a rate of 1 a run ignores failing rewards.
        if not all(map(has_failed, found)) or (wrong and experiment.max_reward_error_rate >= 1):
            continue
        said, asked = str(found[0]["pred"]), repr(question_text(rows[0]["prompt"])[:_SHOWN])
        named = said if said.startswith(str(experiment.reward)) else f"{experiment.reward}: {said}"
        on = (
            f"the wrong answer {WRONG!r} to {asked}; return 0 there" if wrong else f"the data's own solution to {asked}"
        )
        raise ExperimentError(f"--reward {named} (on {on})")


def refuse_long_solutions(experiment: Experiment, train: Path, tokenizer: StoredTokenizer | None) -> None:
    """Refuse a run that learns complete solutions if none is short enough; otherwise print how many are too long.

    Raises:
        ExperimentError: with the length of the shortest solution sampled.
    """
    e = experiment
    shown = e.algorithm.demonstrations or (e.algorithm.context is None and not e.algorithm.uses_hints)
    shown = bool(shown) and "rl" in e.stages and reads_solutions(e.algorithm)
    if tokenizer is None or not (shown or "sft" in e.stages):
        return
    table = parquet.ParquetFile(train).read(columns=["prompt", "answer", *(["hint"] if shown else [])])
    drawn = rows_by_chance(len(table))[:_REWARD_SAMPLE]
    known = [table.slice(row, 1).to_pylist()[0] for row in drawn]
    if "sft" in e.stages:
        texts = [("".join(message["content"] for message in row["prompt"]), row["answer"]) for row in known]
        lengths = [len(tokenizer(asked)["input_ids"]) + len(closed(tokenizer, text)) for asked, text in texts if text]
        _refuse_long(e, train, lengths, e.max_prompt_length + e.max_hint_length + e.max_response_length, "prompt")
    if shown:
        lengths = [len(closed(tokenizer, text)) for row in known if (text := solution_of(row))]
        _refuse_long(e, train, lengths, e.response_length, "response")


def _refuse_long(e: Experiment, train: Path, lengths: list[int], most: int, of: str) -> None:
    limits = ["max_hint_length", "max_response_length"]
    what = "solutions" if of == "response" else "prompts with their solutions"
    if of == "prompt":
        limits.insert(0, "max_prompt_length")
    elif most == e.max_response_length:
        limits = limits[1:]
    given = ", ".join(f"--{name} {getattr(e, name)}" for name in limits)
    refuse_long(e, f"{given}: ", f"{what} sampled from {file_name(e, train)}", lengths, most)


def refuse_long(e: Experiment, given: str, what: str, lengths: list[int], most: int) -> None:
    """Raise ExperimentError if all have more than `most` tokens; otherwise print how many do."""
    long = sum(length > most for length in lengths)
    if long and long == len(lengths):
        raise ExperimentError(
            f"{given}all {long} {what} are longer than {most} tokens (shortest: {min(lengths)}): "
            f"--algo {e.algorithm.name} could not learn from any; increase it"
        )
    if long:
        print(f"{given}{long} of {len(lengths)} {what} are longer than {most} tokens and will be skipped")


def refuse_unpaid_solutions(experiment: Experiment, train: Path, tokenizer: StoredTokenizer | None) -> None:
    """The data's own solutions must be right under the run's reward: the cheapest test of both.

    They are judged like responses: encoded and decoded by the model's tokenizer, if it is local.

    Raises:
        ExperimentError: naming the first rejected row, and the tokenizer if it changed the solution.
    """
    graded = is_graded(experiment.reward)
    rows = _rows(train, _REWARD_SAMPLE)
    refused: list[tuple[int, Any, str, Any]] = []
    for number, row in enumerate(rows):
        answer = row["answer"]
        response = answer if tokenizer is None else decode_response(tokenizer, closed(tokenizer, answer))
        found = _judged(experiment, train, number, row, response)
        if has_failed(found) or (found["acc"] != 1.0 and not graded):
            refused.append((number, row, response, found))
    if len(rows) - len(refused) < LEAST_ACCEPTED * len(rows):
        number, row, response, found = refused[0]
        read = response if response.strip() != row["answer"].strip() else ""
        raise ExperimentError(
            f"the reward does not accept the data's own solutions: {len(refused)} of the first {len(rows)} rows of "
            f"{file_name(experiment, train)} score below 1. First: row {number} scores {found['score']}, read as "
            f"{found['pred']!r}, the question begins {question_text(row['prompt'])[:_SHOWN]!r}, the solution ends "
            f"{row['answer'][-_SHOWN:]!r}, ground truth {row['reward_model']['ground_truth']}. "
            + (f"The tokenizer of {experiment.model} turns it into {read[-_SHOWN:]!r}. " if read else "")
            + "Fix the data, or choose another --reward or --model."
        )
