"""The style of all pictures: one colour per algorithm, thin lines that may overlap, no box around the data.
Pictures are PNG files, and SVG for the page, whose text takes the page's own colour, light or dark."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Mostly the colour-blind safe palette of Okabe and Ito; in the order of legends and tables.
ALGORITHMS = {
    "sft": "#b8860b",
    "rft": "#0072b2",
    "sft_rft": "#56b4e9",
    "stage": "#cc79a7",
    "r3": "#009e73",
    "uft": "#d55e00",
}
# Those that are drawn beside them most often.
_FAMILY = {
    "dft": "#8f3d6e",
    "uft_adaptive": "#b5179e",
    "adaback": "#4d7c0f",
    "luffy": "#3d3d8f",
    "chord_phi": "#7a5195",
    "relift": "#00798c",
    "prefix_rft": "#a05d56",
    "hpt": "#5f6b00",
}
BASE_COLOUR = "#8c8c8c"
# From no hint to the longest, perceptually ordered, none too dark or too light for either mode.
HINT_LENGTHS = ("#6a5fc9", "#3b86d4", "#1f9fa5", "#3aa655", "#98a02b", "#d08a1e")
_DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))

# Placeholder for the page's text colour: replaced by "currentColor" in SVG.
_INK = "#1a2b3d"
_SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8c8c8c",
    "grid.alpha": 0.22,
    "grid.linewidth": 0.7,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "report",
    # A dollar sign in a title is just that.
    "text.parse_math": False,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with our settings."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def colour(algo: str) -> str:
    """The colour of an algorithm, the same in every picture."""
    own = ALGORITHMS | _FAMILY
    return own[algo] if algo in own else list(_FAMILY.values())[sum(algo.encode()) % len(_FAMILY)]


def across_steps(axes: Any, kind: str = "reinforcement") -> None:
    """Steps from left to right, with ticks at whole ones."""
    axes.set(xlabel=f"{kind} step", xlim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)


def dashes(number: int) -> Any:
    """The line style of an algorithm's number-th setting."""
    return _DASHES[number % len(_DASHES)]


def in_turn(place: int, of: int) -> Any:
    """The dashes of one of several flat lines, which show side by side where the lines have the same height."""
    return (0, (7, 2)) if of == 1 else (7 * place, (7, 7 * (of - 1)))


def legend_below(figure: Any, handles: dict[str, Any]) -> None:
    """Lay out the figure, with one legend below it."""
    if not handles:
        figure.tight_layout()
        return
    # An inch has room for the line and about ten letters of a label.
    widest = 0.75 + 0.085 * max(map(len, handles))
    columns = min(len(handles), max(1, int(figure.get_figwidth() // widest)))
    rows = -(-len(handles) // columns)
    columns = -(-len(handles) // rows)
    # Matplotlib fills column by column; people read row by row.
    names = [name for column in range(columns) for name in list(handles)[column::columns]]
    inches = 0.12 + 0.22 * rows
    height = figure.get_figheight() + inches
    figure.set_figheight(height)
    figure.tight_layout(rect=(0, inches / height, 1, 1))
    figure.legend([handles[name] for name in names], names, loc="lower center", ncols=columns, handlelength=2.4)


def save(figure: Any, path: Path) -> None:
    """Writes the figure as a PNG file and closes it."""
    write_bytes(path, png(figure))
    plt.close(figure)


def png(figure: Any) -> bytes:
    """The figure as a PNG on a white background."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    return buffer.getvalue()


def svg(figure: Any, description: str) -> str:
    """The figure as an SVG element for a page: transparent, in the page's text colour, without unused identifiers that
    could clash with another picture's."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    label = description.replace("&", "and").replace('"', "'").replace("<", "")
    return re.sub(
        r'<svg ([^>]*?)width="([\d.]+)pt" height="[\d.]+pt"', rf'<svg role="img" aria-label="{label}" \1', text, count=1
    )


def close(figure: Any) -> None:
    """Release a figure."""
    plt.close(figure)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
