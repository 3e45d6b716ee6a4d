"""HelpSteer2, UltraFeedback and UltraChat as alignment rows, from the hub or a local copy in the hub's format.
Example: a HelpSteer2 answer of helpfulness 3, correctness 4, coherence 4 -> score (1.95 + 3.2 + 1.8) / 7.6 = 0.914."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.files.cells import BadCell
from data_prep.files.tables import Items, read_table
from data_prep.preference.cells import messages_in, number_of, text_of
from data_prep.preference.make_rows import Scale, new_row, pair_rows, unfold
from data_prep.preference.schema import Row
from data_prep.preference.split import Written, beginning, prompt_group, write_split
from data_prep.schema import Message
from data_prep.split import shuffled

# As in UNA (arXiv 2408.15339); complexity and verbosity are ignored.
HELPSTEER2_WEIGHTS = {"helpfulness": 0.65, "correctness": 0.8, "coherence": 0.45}
_MOST = 4.0 * sum(HELPSTEER2_WEIGHTS.values())
_ATTRIBUTES = Scale(0.0, 4.0)
_ULTRAFEEDBACK = Scale(1.0, 10.0)
_PAIR = ("prompt", "chosen", "rejected", "score_chosen", "score_rejected")

_MARK = "<extra_id_1>"
_TURN = re.compile(rf"\n?{_MARK}(User|Assistant)\n")

IN_TEST = "the conversation begins like that of a test row"
_TEST_SHARE = 0.1


@dataclass(frozen=True)
class HubTask:
    """A data set on the hub. convert: (row, its number) -> our rows; BadCell if it cannot be used."""

    dataset: str
    train: str
    test: str
    columns: tuple[str, ...]
    convert: Callable[[Mapping[str, Any], int], list[Row]]
    by_prompt: bool = False
    """Whether rows with the same prompt belong together."""


def write_task(
    name: str,
    folder: Path,
    *,
    source: str | Path | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
) -> Written:
    """Writes folder/train.parquet and folder/test.parquet of helpsteer2, ultrafeedback or ultrachat.

    Rows are in an order drawn from `seed`, with answers to compare next to each other; a smaller set is the beginning
    of a larger one. Unusable rows (blank or equal answers, values outside their scale) are skipped and counted.

    Args:
        source: a copy of the data set: a folder with the hub's files, or one file, of which a tenth of the prompts are
            the test part; or another name on the hub. None is the data set's own name.
        n_train, n_test: this many rows (fewer if the last group would be cut in two); None for all.

    Raises:
        ValueError: for an unknown name, a source that cannot be loaded or lacks a column, or too few usable rows.
    """
    if name not in HUB_TASKS:
        raise ValueError(f"there is no alignment data set {name!r}; choose one of {', '.join(HUB_TASKS)}")
    task = HUB_TASKS[name]
    where = str(source or task.dataset)
    items = {"test": read_table(where, task.test, task.columns)}
    if Path(where).is_file():
        units = _drawn_units(task, items["test"], f"{name} {seed}")
        at = max(1, round(_TEST_SHARE * len(units)))
        items["train"] = items["test"]
        order = {"test": units[:at], "train": units[at:]}
    else:
        items["train"] = read_table(where, task.train, task.columns)
        order = {part: _drawn_units(task, items[part], f"{name} {part} {seed}") for part in items}
    left_out: Counter[str] = Counter()
    rows: dict[str, list[Row]] = {}
    for part, n in (("test", n_test), ("train", n_train)):
        tested = {beginning(row["prompt"]) for row in rows.get("test", ())}
        rows[part] = _take(task, items[part], order[part], n, tested, left_out)
        if n is not None and len(rows[part]) < n:
            raise ValueError(f"{where}: asked for {n} {part} rows; there are {len(rows[part])} usable ones")
        rows[part] = [{**row, "data_source": name} for row in _whole_groups(rows[part], n)]
    return write_split(folder, rows["train"], rows["test"], left_out)


def _drawn_units(task: HubTask, items: Items, seed: str) -> list[list[int]]:
    """The numbers of rows that belong together, in an order drawn from `seed`."""
    together: dict[Any, list[int]] = {}
    for number in range(len(items)):
        together.setdefault(str(items[number].get("prompt")) if task.by_prompt else number, []).append(number)
    return shuffled(list(together.values()), random.Random(seed))


def _take(
    task: HubTask,
    items: Items,
    units: Sequence[Sequence[int]],
    n: int | None,
    tested: Collection[str],
    left_out: Counter[str],
) -> list[Row]:
    """Rows of the units, in order, until there are n or more, without conversations that begin like one of `tested`."""
    rows: list[Row] = []
    for unit in units:
        if n is not None and len(rows) >= n:
            break
        for number in unit:
            try:
                made = task.convert(items[number], number)
            except BadCell as cell:
                left_out[f"column {cell.column}: {cell.what}"] += 1
                continue
            if beginning(made[0]["prompt"]) in tested:
                left_out[IN_TEST] += 1
            else:
                rows += made
    return rows


def _whole_groups(rows: list[Row], n: int | None) -> list[Row]:
    """The first n rows, without a group that would be cut in two there."""
    if n is None or n >= len(rows):
        return rows
    cut = rows[n]["group"]
    return [row for row in rows[:n] if row["group"] != cut]


def _helpsteer2(item: Mapping[str, Any], number: int) -> list[Row]:
    prompt = helpsteer2_prompt(text_of("prompt", item.get("prompt")))
    # Each attribute is checked against its scale, then weighted.
    shares = {name: _ATTRIBUTES.share(name, number_of(name, item.get(name))) for name in HELPSTEER2_WEIGHTS}
    score = sum(4.0 * shares[name] * weight for name, weight in HELPSTEER2_WEIGHTS.items()) / _MOST
    return [new_row(prompt, text_of("response", item.get("response")), min(score, 1.0), "score", prompt_group(prompt))]


def helpsteer2_prompt(text: str) -> list[Message]:
    """The turns of "first question\\n<extra_id_1>Assistant\\nanswer\\n<extra_id_1>User\\nnext question".

    BadCell if a mark cannot be read, turns do not alternate, one is blank, or the last is the assistant's.
    """
    first, *rest = _TURN.split(text)
    roles, texts = ["User", *rest[::2]], [first, *rest[1::2]]
    if any(_MARK in part for part in texts):
        raise BadCell("a mark between turns that cannot be read", "fix it", "prompt")
    if roles != [("User", "Assistant")[at % 2] for at in range(len(roles))] or len(roles) % 2 == 0:
        raise BadCell("turns do not alternate from the user to the user", "fix them", "prompt")
    turns = [{"role": role.lower(), "content": part} for role, part in zip(roles, texts, strict=True)]
    messages = messages_in("prompt", turns)
    assert messages is not None  # it is only None for a text
    return messages


def _ultrafeedback(item: Mapping[str, Any], number: int) -> list[Row]:
    parts = ("prompt", "chosen", "rejected", "chosen_score", "rejected_score")
    cells = {part: (column, item.get(column)) for part, column in zip(parts, _PAIR, strict=True)}
    return pair_rows(cells, number, _ULTRAFEEDBACK)


def _ultrachat(item: Mapping[str, Any], number: int) -> list[Row]:
    messages = messages_in("messages", item.get("messages"))
    rows = unfold(messages, "messages", f"instruction-{number}") if messages else []
    if not rows:
        raise BadCell("no turn of the assistant", "delete the row", "messages")
    return rows


HUB_TASKS = {
    "helpsteer2": HubTask(
        dataset="nvidia/HelpSteer2",
        train="train",
        test="validation",
        columns=("prompt", "response", *HELPSTEER2_WEIGHTS),
        convert=_helpsteer2,
        by_prompt=True,
    ),
    "ultrafeedback": HubTask(
        dataset="HuggingFaceH4/ultrafeedback_binarized",
        train="train_prefs",
        test="test_prefs",
        columns=_PAIR,
        convert=_ultrafeedback,
    ),
    "ultrachat": HubTask(
        dataset="HuggingFaceH4/ultrachat_200k",
        train="train_sft",
        test="test_sft",
        columns=("messages",),
        convert=_ultrachat,
    ),
}
