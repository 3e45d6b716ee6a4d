"""Algorithm files as users write them, and what refuses one."""

import re
from pathlib import Path

import pytest

from tests.helpers.refusals import refusal

HEAD = """
import math
from dataclasses import dataclass, field
from functools import partial
from recipes.algorithms.base import *
from recipes.algorithms.base import Algorithm, Bare, Demonstration, Hint
known = dict(name="mine", title="Mine", paper="-", equation="-", stages=("rl",), needs=frozenset({"group"}))
"""


def written(folder: Path, text: str, name: str = "mine") -> str:
    file = folder / f"{name}.py"
    file.write_text(HEAD + text, encoding="utf-8")
    return str(file)


def field(**changed: str) -> str:
    """A file whose ALGORITHM has these fields, as Python."""
    values = ", ".join(f"{name}={text}" for name, text in changed.items())
    return f"ALGORITHM = Algorithm(**{{**known, **dict({values})}})\n"


def draws(body: str, **also: str) -> str:
    return f"def rollout(at, s, rng):\n    {body}\n" + field(rollout="rollout", **also)


def options(body: str, **also: str) -> str:
    """Options, and a hook that reads them."""
    read = ", ".join(f"s.{name}" for name in re.findall(r"^\s*(\w+)\b", body, re.M))
    also = {"metrics": f"lambda step, s: {{}} if s else [{read}]", **also}
    return f"@dataclass(frozen=True)\nclass Options:\n    {body}\n" + field(options="Options", **also)


def refused(folder: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    """In one line that names the file, before anything starts."""
    file = written(folder, text)
    said = refusal(capsys, "--algo", file, "--profile", "cpu", "--dry_run")
    assert says in said
    assert file in said
