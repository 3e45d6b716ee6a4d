"""A table of texts, as Markdown for files and as HTML for the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

# Not allowed in HTML, but a model may write any of them.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Table:
    """Column names, and rows of as many texts."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of_columns(columns: Mapping[str, Sequence[str]]) -> Table:
    """A table from columns of equal length; columns without any text are skipped."""
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    return Table(tuple(kept), tuple(zip(*kept.values(), strict=True)))


def markdown(table: Table) -> str:
    """The table as Markdown, without a newline after the last row."""
    lines = [f"| {' | '.join(table.head)} |", "|" + "---|" * len(table.head)]
    for row in table.rows:
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def html(table: Table) -> str:
    """The table as an element that scrolls horizontally on a narrow screen."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in table.head)
    rows = []
    for first, *rest in table.rows:
        rows.append(f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in rest)}</tr>')
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def text(value: str) -> str:
    """Any text, escaped for HTML; what cannot be shown becomes a replacement character."""
    readable = value.encode("utf-8", "replace").decode("utf-8")
    return escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", readable))
