"""Every setting, a value for each, and a user's algorithm with options."""

from pathlib import Path

from recipes.common.values import wrong
from recipes.flags.parser import catalogue
from recipes.settings.declare import Setting

SETTINGS = catalogue()


OPTIONS = """
from __future__ import annotations
from dataclasses import dataclass
from recipes.algorithms.base import Algorithm

@dataclass(frozen=True)
class Options:
    careful: bool = True
    \"\"\"Look twice.\"\"\"

    {name}: float = 0.5
    \"\"\"Told under
    the field.\"\"\"

def metrics(step, s):
    return {{"read": float(s.careful) + s.{name}}}

ALGORITHM = Algorithm(name="mine", title="", paper="", equation="", stages=("rl",), options=Options, metrics=metrics)
"""


def text_for(setting: Setting) -> str:
    """Some value of it that is not its default."""
    if setting.choices:
        return setting.choices[-1]
    if setting.metavar == "N,N":
        return "3,5"
    if setting.kind is float and wrong(setting.name, 0.75, setting.check):
        return "1.5"
    return {int: "7", float: "0.75", bool: "false"}.get(setting.kind, "x,y")


def own(folder: Path, name: str = "calm") -> str:
    file = folder / f"{name}.py"
    file.write_text(OPTIONS.format(name=name), encoding="utf-8")
    return str(file)
