"""Refuses data and rewards for which a hint alone scores: a response begins with its hint, so rollouts would be paid
for what they were given. Example: a hint that ends in "so the sum is 12", and a reward that looks for 12 anywhere."""

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
"""Hints tried by a built-in reward: half a second, since --dry_run waits for it too."""

_OF_A_ROW = 32
"""Hints tried of a solution of more texts than that, from all over it."""

_CHARACTERS = 4_000_000
"""Of hints that are tried, where solutions are long."""

_TOKENISED = 300
"""Rows whose hints all go through the tokenizer, which takes most of the time. What a tokenizer does to a tag it does
in every row; of the other rows only hints go that score as they are written."""

_LEAST, _SECONDS = 64, 2.0
"""Hints tried by a user's reward, which may ask a model over the network: so many, and more while time allows."""

_GRADED_SHARE = 0.1
"""Of the rows: a reward model is a noisy judge, and rates one hint or another above its solution by chance."""

_SHOWN = 80

_NO_LIMIT = sys.maxsize


@dataclass(frozen=True)
class _PaidHint:
    """A hint that scores alone: the first `texts` texts of a row. solution_score: its whole solution's, if compared."""

    texts: int
    text: str
    score: float
    solution_score: float | None


def left(experiment: Experiment, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Count]:
    """`data_prep.demonstrations.rewritten` as the experiment wants it.

    Raises:
        ExperimentError: where that cannot be.
    """
    try:
        return rewritten(rows, experiment.solutions_left, experiment.seed)
    except ValueError as error:
        raise ExperimentError(str(error)) from None


def refuse_paid_hints(experiment: Experiment, train: Path, tokenizer: Any = None) -> None:
    """Score hints alone, as a rollout that generates nothing would be, in the experiment's prompt style.

    By a built-in reward a hint must score nothing, by a user's not full marks; by one without "right" (GRADED), in no
    more than a tenth of the rows as much as the whole solution. Rows are taken from all over the file, so a fault of a
    few rows may be missed in a large one.

    Args:
        tokenizer: encodes and decodes the hint first, as in a rollout.

    Raises:
        ExperimentError: naming file and row and showing the end of the hint; also for rows that cannot be restyled or
            that no reward judges.
    """
    if not experiment.algorithm.uses_hints:
        return
    table = parquet.ParquetFile(train).read(columns=_COLUMNS)
    if experiment.solutions_left.changes:
        table = pa.Table.from_pylist(left(experiment, table.to_pylist())[0], schema=table.schema)
    numbers = _spread(table["hint"])
    # Not Table.take: it imports pandas, which takes longer than all of the rest. One by one is seven times as slow.
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
        compared = "" if hint.solution_score is None else f", and its whole solution {hint.solution_score:g}"
        where = f"{file_name(experiment, train)}, row {number}"
        raise ExperimentError(
            f"{where}: a hint alone, the first {hint.texts} of the {len(row['hint'])} texts in column hint, scores "
            f"{hint.score:g}{compared}; it ends {hint.text[-_SHOWN:]!r}. Rollouts would be paid for what they were "
            f"given ({len(paid)} of the {len(rows)} rows checked have such a hint). Leave the answer out of the worked "
            f"solution (columns hint and answer of prepared files keep them apart), or choose a --reward that reads "
            f"only the final answer; --algo rft and sft train without hints."
        )


def texts_per_row(column: Any) -> list[int]:
    """Texts in each row of a column of lists; a row or a column without a list has none.

    Not by pyarrow.compute, which takes as long to import as a tenth of --dry_run.
    """
    found: list[int] = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_pylist() if hasattr(chunk, "offsets") else [0] * (len(chunk) + 1)
        found += [end - start for start, end in pairwise(offsets)]
    return found


def _spread(hints: Any) -> list[int]:
    """Numbers of the rows to check, spread over those with hints: as many as _HINTS and _CHARACTERS allow.

    The first of them are spread over the file too, for a check that ends early.
    """
    tried = [min(n, _OF_A_ROW) for n in texts_per_row(hints)]
    hinted = [number for number, n in enumerate(tried) if n]
    # Each hint is a beginning of the solution: half of it in the mean.
    characters = hints.nbytes / max(1, len(hinted)) * sum(tried) / max(1, len(hinted)) / 2
    wanted = min(_HINTS * len(hinted) // max(1, sum(tried)), int(_CHARACTERS / max(1.0, characters)))
    return [hinted[row] for row in rows_by_chance(len(hinted))[: max(1, wanted)]]


def _tried(texts: int) -> set[int]:
    """After which of so many texts a hint may end that is tried."""
    return {round((at + 1) * texts / min(texts, _OF_A_ROW)) for at in range(min(texts, _OF_A_ROW))}


def _in_time(
    check: Callable[[int, dict[str, Any]], _PaidHint | None], numbers: list[int], rows: list[dict[str, Any]]
) -> list[_PaidHint | None]:
    """`check` on the first rows: on _LEAST hints, and on more for _SECONDS."""
    workers = shared_pool().workers
    found: list[_PaidHint | None] = []
    began, hints = time.monotonic(), 0
    # A user's reward may wait for a server: as many calls at once as the pool has workers.
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

    encode = cache(partial(encode_given, tokenizer))  # the whole solution is asked for with each of its texts

    def given(texts: int, text: str) -> str:
        if tokenizer is None:
            return text
        try:
            ids = hint_given(encode, row["hint"], texts, row["answer"] or "".join(row["hint"]), _NO_LIMIT)[0]
        except ValueError as error:
            raise ExperimentError(f"{where}: {error}") from None
        return decode_response(tokenizer, ids)

    # Too long a hint loses texts in a rollout, so one may end after any of them.
    ends = _tried(len(row["hint"]))
    for texts, text in enumerate(accumulate(row["hint"]), start=1):
        if texts not in ends:
            continue
        # A verdict that failed is 0 in score and acc.
        if not all_tokenised and not judged(text)["score"]:
            continue
        verdict = judged(text := given(texts, text))
        score = float(verdict["score"])
        # A user's reward may pay some of it: the rollouts of a prompt share their hint.
        if not graded and (verdict["acc"] == 1.0 or (score > 0.0 and not is_custom(reward))):
            return _PaidHint(texts, text, score, None)
        if graded and score > 0.0:
            solution_score = float(judged(row["answer"])["score"])
            if 0.0 < solution_score <= score:
                return _PaidHint(texts, text, score, solution_score)
    return None
