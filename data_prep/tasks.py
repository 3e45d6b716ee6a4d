"""The tasks by name, as in --data, and the modules whose `prepare` writes their files."""

from importlib import import_module
from pathlib import Path
from typing import Any

PREPARED_IN = {
    "countdown": "countdown.generate",
    "kk_logic": "kk_logic.generate",
    "chain": "chain.files",
    "math": "math.convert",
    "others": "benchmarks.others",
    "vnhsge": "benchmarks.vnhsge",
    "general_knowledge": "benchmarks.general_knowledge",
}


def prepare(task: str, folder: Path, **options: Any) -> None:
    """Write the files of a task to `folder`; the options are those of its `prepare`."""
    import_module(f"data_prep.{PREPARED_IN[task]}").prepare(folder, **options)
