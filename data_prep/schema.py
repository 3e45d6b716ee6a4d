"""The row format of all training and evaluation data: build, validate, write and read it as parquet.
verl's own RL columns plus `hint` (the solution in segments) and `answer` (the complete solution text).

Example row (countdown):
    prompt        [{"role": "user", "content": "A conversation between User and Assistant. ... <think> "}]
    hint          ["19 + 35 = 54\\n", "44 + 54 = 98\\n", "Therefore, the final equation is 44 + (19 + 35)"]
    answer        "19 + 35 = 54\\n44 + ... 44 + (19 + 35) </think>\\n<answer> 44 + (19 + 35) </answer>"
    data_source   "countdown"
    ability       "math"
    reward_model  {"style": "rule", "ground_truth": {"numbers": [44, 19, 35], "target": 98}}
    extra_info    {"index": 0, "split": "train"}
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER_OPENS = " </think>\n<answer> "
ANSWER_CLOSES = " </answer>"
_HINT_FORBIDS = ("</think>", "<answer>", "</answer>")


class Message(TypedDict):
    role: str
    content: str


class RewardModel(TypedDict):
    style: str
    ground_truth: Any


class ExtraInfo(TypedDict):
    index: int
    split: str


class Row(TypedDict):
    prompt: list[Message]
    hint: list[str]
    answer: str
    data_source: str
    ability: str
    reward_model: RewardModel
    extra_info: ExtraInfo


COLUMNS = tuple(Row.__annotations__)

_PACKED = "packed_ground_truth"
IN_SET = "@"
"""Separates a row's data_source from its validation set: math@hard is judged as math and reported separately."""


class SchemaError(ValueError):
    """A row that violates the format; the message names file, row and column."""


def build_row(
    *,
    prompt: str,
    hint: Sequence[str],
    final_answer: str,
    data_source: str,
    ability: str,
    ground_truth: Any,
    index: int,
    split: str,
) -> Row:
    """A row from its parts: `prompt` is the complete prompt, `final_answer` the text inside the answer tags."""
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "hint": list(hint),
        "answer": "".join(hint) + ANSWER_OPENS + final_answer + ANSWER_CLOSES,
        "data_source": data_source,
        "ability": ability,
        "reward_model": {"style": "rule", "ground_truth": ground_truth},
        "extra_info": {"index": index, "split": split},
    }


def validate_row(row: Mapping[str, Any], where: str) -> None:
    """Raises SchemaError unless `row` has all columns in the right form. where: file and row, for the message."""
    demand_columns(row, COLUMNS, where)
    for column in ("answer", "data_source", "ability"):
        demand(isinstance(row[column], str), where, column, "must be text", row[column])
    hint = row["hint"]
    demand(
        isinstance(hint, list) and all(isinstance(h, str) for h in hint), where, "hint", "must be a list of texts", hint
    )
    reasoning = "".join(hint)
    for tag in _HINT_FORBIDS:
        # A hint that ends the thought would give the answer away.
        demand(tag not in reasoning, where, "hint", f"must not contain {tag}", reasoning)
    answer = row["answer"]
    end = answer[len(reasoning) :]
    tagged = end.startswith(ANSWER_OPENS) and end.endswith(ANSWER_CLOSES)
    demand(
        answer.startswith(reasoning) and (tagged or "\\boxed{" in answer),
        where,
        "answer",
        f"must be the joined hint + {ANSWER_OPENS!r} + the final answer + {ANSWER_CLOSES!r} (or end in \\boxed{{}})",
        answer,
    )

    reward = row["reward_model"]
    rewardable = isinstance(reward, Mapping) and isinstance(reward.get("style"), str)
    demand(
        rewardable and reward.get("ground_truth") is not None,
        where,
        "reward_model",
        "must hold style and ground_truth",
        reward,
    )


def demand_columns(row: Mapping[str, Any], columns: Sequence[str], where: str) -> None:
    """Raises SchemaError unless `row` has all columns, with those shared by all formats in the right form."""
    for column in columns:
        if row.get(column) is None:
            raise SchemaError(f"{where}, column {column}: missing or null; every row needs {', '.join(columns)}")
    prompt, extra = row["prompt"], row["extra_info"]
    demand(isinstance(prompt, list) and len(prompt) > 0, where, "prompt", "must be a list of messages", prompt)
    for message in prompt:
        well_formed = isinstance(message, Mapping) and all(isinstance(message.get(k), str) for k in ("role", "content"))
        demand(well_formed, where, "prompt", "every message must hold the texts role and content", message)
    indexed = isinstance(extra, Mapping) and type(extra.get("index")) is int and isinstance(extra.get("split"), str)
    demand(indexed, where, "extra_info", "must hold index (whole number) and split (text)", extra)


def demand(condition: bool, where: str, column: str, rule: str, value: Any) -> None:
    """Raises SchemaError with the value unless the condition holds."""
    if not condition:
        shown = repr(value)
        shown = shown if len(shown) <= 200 else shown[:197] + "..."
        raise SchemaError(f"{where}, column {column}: {rule}; got {shown}")


def packed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their ground truths as JSON texts if they differ in type: a parquet column has one type, and would
    give every problem the keys of all tasks."""
    truths = [plain(row["reward_model"]["ground_truth"]) for row in rows]
    kinds = {tuple((key, type(value)) for key, value in sorted(_items(truth))) for truth in truths}
    if len(kinds) == 1:
        return [dict(row) for row in rows]
    texts = [json.dumps({_PACKED: truth}, ensure_ascii=False) for truth in truths]
    return [
        {**row, "reward_model": {**row["reward_model"], "ground_truth": text}}
        for row, text in zip(rows, texts, strict=True)
    ]


def _items(truth: Any) -> Iterable[tuple[str, Any]]:
    return truth.items() if isinstance(truth, Mapping) else [("", truth)]


def unpacked(ground_truth: Any) -> Any:
    """The ground truth before `packed`."""
    is_packed = isinstance(ground_truth, str) and ground_truth.startswith(f'{{"{_PACKED}": ')
    return json.loads(ground_truth)[_PACKED] if is_packed else ground_truth


def plain(value: Any) -> Any:
    """`value` with numpy arrays and scalars turned into lists and numbers, at any depth."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def normalise_row(row: Mapping[str, Any], where: str) -> Row:
    """The schema columns of `row` as plain lists and numbers, validated; other columns are dropped."""
    normal = {column: plain(row.get(column)) for column in COLUMNS}
    validate_row(normal, where)
    return cast(Row, normal)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Validates the rows and writes them to `path` as parquet, atomically."""
    import pyarrow as pa

    listed = [normalise_row(row, f"{path}, row {number}") for number, row in enumerate(rows)]
    if not listed:
        raise SchemaError(f"{path}: no rows to write")
    try:
        table = pa.Table.from_pylist(listed, schema=_arrow_schema(listed))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(
            f"{path}, column reward_model: ground_truth must have one type in all rows: {error}"
        ) from None
    write_table(path, table)


def numbered(rows: Sequence[Mapping[str, Any]], split: str) -> list[dict[str, Any]]:
    """The rows, numbered from 0."""
    return [{**row, "extra_info": {"index": index, "split": split}} for index, row in enumerate(rows)]


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a parquet file atomically."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(descriptor)
    temporary = Path(name)
    try:
        pq.write_table(table, temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _arrow_schema(rows: list[Row]) -> pa.Schema:
    import pyarrow as pa

    # Explicit, because a column of empty lists would be inferred as null, which no reader expects.
    truth = pa.infer_type([row["reward_model"]["ground_truth"] for row in rows])
    text = pa.string()
    return pa.schema(
        [
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("hint", pa.list_(text)),
            ("answer", text),
            ("data_source", text),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", truth)])),
            ("extra_info", pa.struct([("index", pa.int64()), ("split", text)])),
        ]
    )


def read_rows(path: Path) -> list[Row]:
    """All rows of a parquet file in this format; other columns are ignored. SchemaError names the first bad row."""
    rows = read_columns(path, COLUMNS)
    return [normalise_row(row, f"{path}, row {number}") for number, row in enumerate(rows)]


def read_columns(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """These columns of a parquet file; SchemaError if it is not one or lacks a column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise SchemaError(f"{path}: {'a folder; name a file in it' if path.is_dir() else 'no such file'}")
    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            if missing := [column for column in columns if column not in present]:
                raise SchemaError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(present)}")
            rows: list[dict[str, Any]] = file.read(columns=list(columns)).to_pylist()
            return rows
    except (pa.ArrowException, OSError) as error:
        made = f"`python3 -m data_prep validate {path} --out FOLDER` makes one"
        why = error if path.suffix == ".parquet" else made
        raise SchemaError(f"{path}: not a readable parquet file ({why})") from None


def content_hash(path: Path) -> str:
    """SHA-256 (hex) of the content of a parquet file: all rows in order, all columns, whatever its encoding."""
    import pyarrow.parquet as pq

    digest = hashlib.sha256()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                line = json.dumps(row, sort_keys=True, separators=(",", ":"), default=str)
                digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def solution_of(row: Mapping[str, Any]) -> str:
    """The complete solution of a row; empty if it has none and its answer is just the result."""
    texts = row.get("hint")
    return str(row.get("answer") or "".join(texts)) if texts is not None and len(texts) else ""
