"""verl's own scorers, which a setting of verl's can put in the place of ours: some of them run what a model writes.
Standard library alone, since the doctor starts with nothing else."""

import ast
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

CVE = "CVE-2026-6878"
_PATH = re.compile(r"custom_reward_function(?:\.path=|['\"]?[=:]\{?(?:[^{}]*,)?['\"]?path['\"]?:)['\"]?([^,'\"}]*)")
_NONE = ("", "~", "null", "Null", "NULL")
_THEIRS = ("reward_score", "prime_math", "prime_code")


@cache
def evaluated_at() -> tuple[str, ...]:
    """Where the installed verl's prime_math evaluates answers, as "grader.py:169"; empty where it does not."""
    found = importlib.util.find_spec("verl")
    if found is None or not found.submodule_search_locations:
        return ()
    folder = Path(found.submodule_search_locations[0]) / "utils/reward_score/prime_math"
    calls = []
    for file in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                calls.append(f"{file.name}:{node.lineno}")
    return tuple(calls)


def selected(overrides: Sequence[str]) -> str | None:
    """The override (the last that says anything of it) by which verl's own scorers judge; None if ours do."""
    found = None
    for override in overrides:
        # As YAML takes them: with blanks, and as sections in braces.
        named = _PATH.search(override.replace(" ", ""))
        if named is not None:
            path = named[1]
            found = override if path in _NONE or any(name in path for name in _THEIRS) else None
    return found


def warning(overrides: Sequence[str]) -> str | None:
    """What to know before verl's own scorers judge; None if these overrides leave the reward to ours."""
    override = selected(overrides)
    if override is None:
        return None
    evaluates = (
        f"prime_math evaluates answers as Python ({CVE}: {', '.join(evaluated_at())}) and " if evaluated_at() else ""
    )
    return (
        f"{override} makes verl's own scorers judge, by data_source: {evaluates}prime_code runs them, so what the "
        f"model writes is executed on this machine with your rights. Leave it out, or look first: "
        f"python3 -m reward_fns audit verl:prime_math"
    )


def note() -> str | None:
    """A line for the doctor: that the installed verl has the fault, and who is safe from it."""
    if not evaluated_at():
        return None
    return (
        f"verl's prime_math scorer evaluates answers as Python ({CVE}: {', '.join(evaluated_at())}). No run uses it "
        f"unless an override says so: reward.custom_reward_function.path"
    )
