"""A notebook's cells, for tests: no kernel is installed to run them in."""

import json
from pathlib import Path
from typing import Any

from tests import ROOT

NOTEBOOK = ROOT / "examples/alignment.ipynb"
RESULTS = "results"
"""Tag of the cells that read what runs have left."""


def cells(file: Path = NOTEBOOK) -> list[dict[str, Any]]:
    """Its code cells in order."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return [cell for cell in found["cells"] if cell["cell_type"] == "code"]


def source(found: list[dict[str, Any]]) -> str:
    """Their text as one program."""
    return "\n\n".join("".join(cell["source"]) for cell in found)
