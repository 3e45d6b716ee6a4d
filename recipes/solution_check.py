"""Refuses data, rewards and tokenizers by which the data's own solutions are not right: nothing could be learnt."""

from pathlib import Path

import pyarrow.parquet as parquet

from data_prep.prompt_styles import question_text
from data_prep.tokens import closed, decode_response
from recipes.experiment import Experiment, ExperimentError
from recipes.stored_tokenizer import StoredTokenizer
from reward_fns import compute_score, has_failed, is_graded

_REWARD_SAMPLE = 64
_LEAST_ACCEPTED = 0.9


def refuse_unpaid_solutions(experiment: Experiment, train: Path, tokenizer: StoredTokenizer | None) -> None:
    """The data's own solutions must be right by the reward they are trained with: the cheapest test of both.

    They are judged as responses are: encoded and decoded by the model's tokenizer, if it is here.

    Raises:
        ExperimentError: naming the first row that is not paid, and the tokenizer if it changed the solution.
    """
    graded = is_graded(experiment.reward)
    columns = ["answer", "data_source", "reward_model", "prompt"]
    rows = next(parquet.ParquetFile(train).iter_batches(_REWARD_SAMPLE, columns=columns)).to_pylist()
    refused = []
    for number, row in enumerate(rows):
        answer = row["answer"]
        response = answer if tokenizer is None else decode_response(tokenizer, closed(tokenizer, answer))
        try:
            found = compute_score(
                row["data_source"],
                response,
                row["reward_model"]["ground_truth"],
                {"question": question_text(row["prompt"])},
                reward=experiment.reward,
            )
        except ValueError as error:
            raise ExperimentError(f"{train}, row {number}, column data_source: {error}") from None
        if has_failed(found) or (found["acc"] != 1.0 and not graded):
            refused.append((number, row, response, found))
    if len(refused) > (1 - _LEAST_ACCEPTED) * len(rows):
        number, row, response, found = refused[0]
        read = response if response.strip() != row["answer"].strip() else ""
        raise ExperimentError(
            f"the reward does not accept the data's own solutions: {len(refused)} of the first {len(rows)} rows of "
            f"{train} score below 1. First: row {number} scores {found['score']}, read as {found['pred']!r}, the "
            f"solution ends {row['answer'][-120:]!r}, ground truth {row['reward_model']['ground_truth']}. "
            + (f"The tokenizer of {experiment.model} makes {read[-120:]!r} of it. " if read else "")
            + "Fix the data, or choose another --reward or --model."
        )
