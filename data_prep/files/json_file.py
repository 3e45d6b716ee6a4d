"""Reads the rows of a jsonl file (one object per line) or a JSON list; a bad line is a Problem, and reading continues.
Stricter than Python's own reader: NaN and repeated names in an object are errors."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from data_prep.faults import Problem, shown
from data_prep.files.source import ITEMS, SAVE_AS_UTF8, Source, bad_byte, content_of


class _BadJson(ValueError):
    """Valid for Python's reader, but not in a data file."""


def _no_constant(name: str) -> Any:
    raise _BadJson(f"{name} is not a JSON value")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _BadJson(f"a number of {len(text):,} digits") from None


def _no_duplicate(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    cells = dict(pairs)
    if len(cells) < len(pairs):
        name = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _BadJson(f"the name {name!r} occurs twice in one object")
    return cells


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_no_constant, object_pairs_hook=_no_duplicate)
    except RecursionError:
        raise _BadJson("nested too deeply") from None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _why(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, character {error.colno}" if error.lineno > 1 else f"character {error.colno}"
        return f"{error.msg.removesuffix(' at')} at {place}"
    return str(error)[:200]


def read_json(path: Path, source: Source) -> None:
    """Adds the rows of a jsonl or json file to `source`; its content decides which of the two it is."""
    content = content_of(path, source)
    stripped = content.strip()
    first, *more = stripped.split(b"\n", 1)
    listed = path.suffix.lower() == ".json"
    # A line that is a complete list is a bad line, not the beginning of a JSON list.
    whole = stripped.startswith(b"[") and (listed or not more or not _is_json(first))
    if stripped and (whole or (listed and b"\n{" not in stripped)):
        _read_json_document(content, source)
    else:
        _read_json_lines(content, source)


def _read_json_document(content: bytes, source: Source) -> None:
    source.counting = ITEMS
    try:
        document = _parse(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        source.problems.append(Problem("not UTF-8", SAVE_AS_UTF8, detail=f"line {line}"))
        return
    except ValueError as error:
        source.problems.append(Problem("not valid JSON", "fix it there", detail=_why(error)))
        return
    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list)]
        document = lists[0] if len(lists) == 1 and isinstance((lists[0] or [None])[0], dict) else document
    for number, item in enumerate(document if isinstance(document, list) else [document], start=1):
        _take_object(number, item, source)


def _read_json_lines(content: bytes, source: Source) -> None:
    blank = 0
    # Not splitlines: it also splits at characters that JSON allows inside a string.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            blank += 1
            continue
        try:
            item = _parse(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            source.problems.append(bad_byte(error, number))
        except ValueError as error:
            source.problems.append(Problem("not valid JSON", "fix or delete the line", number, detail=_why(error)))
        else:
            _take_object(number, item, source)
    blank -= content.endswith(b"\n") or not content
    if blank:
        source.notes.append(f"blank lines skipped: {blank}")


def _take_object(number: int, item: Any, source: Source) -> None:
    if isinstance(item, dict):
        source.add(number, {key.strip(): value for key, value in item.items()})
    else:
        source.problems.append(
            Problem(
                'not an object with columns such as {"question": ..., "answer": ...}',
                "write one object per row",
                number,
                detail=f"it is {shown(item, 40)}",
            )
        )
