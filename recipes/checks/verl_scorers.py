"""verl's own scorers, some of which execute model output. No run calls them: an override that would is refused
(OWNED in recipes/verl_plugin/overrides.py). Standard library only, since the doctor may have nothing else."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

CVE = "CVE-2026-6878"


@cache
def evaluated_at() -> tuple[str, ...]:
    """Where the installed verl's prime_math evaluates answers, as "grader.py:169"; empty if nowhere."""
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


def note() -> str | None:
    """A line for the doctor if the installed verl has the vulnerability: who is safe from it."""
    if not evaluated_at():
        return None
    return (
        f"verl's prime_math scorer evaluates answers as Python ({CVE}: {', '.join(evaluated_at())}). No run uses it: "
        f"an override of reward.custom_reward_function is refused"
    )
