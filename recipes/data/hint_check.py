"""Refuses data and rewards under which a hint alone scores: a response begins with its hint, so rollouts would be
rewarded for the hint. Example: a hint that ends in "so the sum is 12", and a reward that looks for 12 anywhere."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as parquet

from data_prep.demonstrations import Count, rewritten
from data_prep.prompt_styles import STYLES, question_text, restyle
from data_prep.schema import Row
from data_prep.split import rows_by_chance
from data_prep.tokens import decode_response, encode_given
from recipes.algorithms.hints.cut import hint_given
from recipes.common.errors import ExperimentError
from recipes.data.solution_check import file_name
from recipes.settings.experiment import Experiment
from reward_fns import compute_score, is_custom, is_graded
from reward_fns.pool import shared_pool

_COLUMNS = ["prompt", "hint", "answer", "data_source", "reward_model"]

_HINTS = 10_000
"""Hints tried with a built-in reward: half a second, which --dry_run waits for too."""

_OF_A_ROW = 32
"""Hints tried per solution, spread over it if it has more texts."""

_CHARACTERS = 4_000_000
"""Limit on all hints tried together, for long solutions."""

_TOKENISED = 300
"""Rows whose hints all go through the tokenizer, the slowest part. A tokenizer treats a tag the same in every row, so
in other rows only hints that score as written go through it."""

_LEAST, _SECONDS = 64, 2.0
"""Hints tried with a user's reward, which may query a model over a network: minimum number, and seconds for more."""

_GRADED_SHARE = 0.1
"""Tolerated share of rows: a reward model is noisy and rates some hints above their solution by chance."""

_SHOWN = 80

_NO_LIMIT = sys.maxsize


@dataclass(frozen=True)
class _PaidHint:
    """A hint that scores alone: a row's first `texts` texts. solution_score: the full solution's score, if compared."""

    texts: int
    text: str
    score: float
    solution_score: float | None


def left(experiment: Experiment, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Count]:
    """`data_prep.demonstrations.rewritten` with the experiment's settings.

    Raises:
        ExperimentError: if that is impossible.
    """
    try:
        return rewritten(rows, experiment.solutions_left, experiment.seed)
    except ValueError as error:
        raise ExperimentError(str(error)) from None


def refuse_paid_hints(experiment: Experiment, train: Path, tokenizer: Any = None) -> None:
    """Score hints alone, as for a rollout that generates nothing, in the experiment's prompt style.

    With a built-in reward a hint must score 0, with a user's reward less than full marks; with a graded one (GRADED) at
    most a tenth of the rows may score as high as the full solution. Rows are sampled from all over the file, so that
    faults in a few rows of a large file may be missed.

    Args:
        tokenizer: encodes and decodes the hint first, as in a rollout.

    Raises:
        ExperimentError: naming file and row and showing the end of the hint; also for rows that cannot be restyled or
            that no reward can score.
    """
    if not experiment.algorithm.uses_hints:
        return
    table = parquet.ParquetFile(train).read(columns=_COLUMNS)
    if experiment.solutions_left.changes:
        table = pa.Table.from_pylist(left(experiment, table.to_pylist())[0], schema=table.schema)
    numbers = _spread(table["hint"])
    # Not Table.take: it imports pandas, which takes longer than all the rest. Slicing row by row is seven times slower.
    if 8 * len(numbers) > len(table):
        every = table.to_pylist()
        rows = [every[number] for number in numbers]
    else:
        rows = [table.slice(number, 1).to_pylist()[0] for number in numbers]
    check = partial(_paid_hint, experiment, is_graded(experiment.reward), train, tokenizer)
    if is_custom(experiment.reward):
        found = _in_time(check, numbers, rows)
        numbers, rows = numbers[: len(found)], rows[: len(found)]
    else:
        found = [
            check(number, row, at < _TOKENISED) for at, (number, row) in enumerate(zip(numbers, rows, strict=True))
        ]
    judged = sorted(zip(numbers, range(len(rows)), found, strict=True))
    paid = [(number, rows[at], hint) for number, at, hint in judged if hint is not None]
    if len(paid) > (_GRADED_SHARE * len(rows) if is_graded(experiment.reward) else 0):
        number, row, hint = paid[0]
        compared = "" if hint.solution_score is None else f", and the full solution {hint.solution_score:g}"
        where = f"{file_name(experiment, train)}, row {number}"
        raise ExperimentError(
            f"{where}: a hint alone, the first {hint.texts} of the {len(row['hint'])} texts in column hint, scores "
            f"{hint.score:g}{compared}; it ends {hint.text[-_SHOWN:]!r}. Rollouts would be rewarded for their hints "
            f"({len(paid)} of the {len(rows)} rows checked have such a hint). Remove the answer from the worked "
            f"solution (prepared files have separate columns hint and answer), choose a --reward that reads only the "
            f"final answer, or train without hints (--algo rft or sft)."
        )


def texts_per_row(column: Any) -> list[int]:
    """Number of texts in each row of a column of lists; 0 for rows without a list or columns of another type.

    Avoids pyarrow.compute, whose import takes a tenth of --dry_run.
    """
    found: list[int] = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_pylist() if hasattr(chunk, "offsets") else [0] * (len(chunk) + 1)
        found += [end - start for start, end in pairwise(offsets)]
    return found


def _spread(hints: Any) -> list[int]:
    """Row numbers to check, spread over the rows with hints: as many as _HINTS and _CHARACTERS allow.

    The first ones are spread over the file too, in case the check ends early.
    """
    tried = [min(n, _OF_A_ROW) for n in texts_per_row(hints)]
    hinted = [number for number, n in enumerate(tried) if n]
    # Each hint is a prefix of the solution, half of it on average.
    characters = hints.nbytes / max(1, len(hinted)) * sum(tried) / max(1, len(hinted)) / 2
    wanted = min(_HINTS * len(hinted) // max(1, sum(tried)), int(_CHARACTERS / max(1.0, characters)))
    return [hinted[row] for row in rows_by_chance(len(hinted))[: max(1, wanted)]]


def _tried(texts: int) -> set[int]:
    """Lengths, in texts, of the hints to try of a solution with that many texts."""
    return {round((at + 1) * texts / min(texts, _OF_A_ROW)) for at in range(min(texts, _OF_A_ROW))}


def _in_time(
    check: Callable[[int, dict[str, Any]], _PaidHint | None], numbers: list[int], rows: list[dict[str, Any]]
) -> list[_PaidHint | None]:
    """Run `check` on the first rows: _LEAST hints, and more for up to _SECONDS."""
    workers = shared_pool().workers
    found: list[_PaidHint | None] = []
    began, hints = time.monotonic(), 0
    # A user's reward may wait for a server: run as many calls at once as the pool has workers.
    with ThreadPoolExecutor(workers) as threads:
        while len(found) < len(rows) and (hints < _LEAST or time.monotonic() - began < _SECONDS):
            part = slice(len(found), len(found) + 4 * workers)
            found += threads.map(check, numbers[part], rows[part])
            hints += sum(len(row["hint"]) for row in rows[part])
    return found


def _paid_hint(
    experiment: Experiment,
    graded: bool,
    train: Path,
    tokenizer: Any,
    number: int,
    row: dict[str, Any],
    all_tokenised: bool = True,
) -> _PaidHint | None:
    """The shortest hint of a row that scores alone, or None."""
    where = f"{file_name(experiment, train)}, row {number}"
    if experiment.prompt_style != "completion":
        try:
            row = dict(restyle(cast(Row, row), STYLES[experiment.prompt_style], where))
        except ValueError as error:
            raise ExperimentError(str(error)) from None
    reward, style = experiment.reward, STYLES[experiment.prompt_style]
    truth, asked = row["reward_model"]["ground_truth"], {"question": question_text(row["prompt"])}

    def judged(response: str) -> dict[str, float | str]:
        try:
            return compute_score(
                row["data_source"], response, truth, asked, reward=reward, answer_format=style.answer_format
            )
        except ValueError as error:
            raise ExperimentError(f"{where}, column data_source: {error}") from None

    encode = cache(partial(encode_given, tokenizer))  # the full solution is encoded for each hint

    def given(texts: int, text: str) -> str:
        if tokenizer is None:
            return text
        try:
            ids = hint_given(encode, row["hint"], texts, row["answer"] or "".join(row["hint"]), _NO_LIMIT)[0]
        except ValueError as error:
            raise ExperimentError(f"{where}: {error}") from None
        return decode_response(tokenizer, ids)

    # Rollouts drop texts from hints that are too long, so a hint may end after any text.
    ends = _tried(len(row["hint"]))
    for texts, text in enumerate(accumulate(row["hint"]), start=1):
        if texts not in ends:
            continue
        # Failed verdicts have score and acc 0.
        if not all_tokenised and not judged(text)["score"]:
            continue
        verdict = judged(text := given(texts, text))
        score = float(verdict["score"])
        # A user's reward may give partial credit: all rollouts of a prompt share the hint.
        if not graded and (verdict["acc"] == 1.0 or (score > 0.0 and not is_custom(reward))):
            return _PaidHint(texts, text, score, None)
        if graded and score > 0.0:
            solution_score = float(judged(row["answer"])["score"])
            if 0.0 < solution_score <= score:
                return _PaidHint(texts, text, score, solution_score)
    return None
