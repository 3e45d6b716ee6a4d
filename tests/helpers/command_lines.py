"""What command lines meant when they were recorded (tests/recorded/command_lines.yaml): resolved values, or a refusal.

`python -m tests.helpers.command_lines` writes them anew, for a change that is meant to change them; the difference is
reviewed.
"""

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

import run
from data_prep.prompt_styles import STYLES
from recipes.algorithms import algorithms
from recipes.commands import eval_parts, pipeline, reproduce, sweep, train
from recipes.data import stored_template
from recipes.flags.resolve import build_experiment
from recipes.run.suites import SUITES
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.saved import to_yaml
from recipes.settings.tasks import TASKS
from reward_fns import REWARDS
from tests import ROOT

FILE = ROOT / "tests/recorded/command_lines.yaml"


def recorded() -> tuple[dict[str, Any], dict[str, Any]]:
    """(values that the lines differ from, what each command line means)."""
    text = FILE.read_text(encoding="utf-8")
    whole = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return whole["base"], whole["lines"]


def values(experiment: Experiment) -> dict[str, Any]:
    """An experiment's settings by name, those of alignment with a dot; paths in the repository from its root."""
    text = to_yaml(experiment).replace(f"{ROOT}/", "")
    nested = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    nested.pop("schema", None)
    alignment = nested.pop("alignment")
    return nested | {f"alignment.{name}": value for name, value in alignment.items()}


def base() -> dict[str, Any]:
    return values(build_experiment({}, PROFILES["cpu"]))


def meaning(line: str, start: dict[str, Any]) -> Any:
    """What run.py makes of a command line: of each run or part what differs from `start`, or the text of a refusal.

    The machine is one with two cores and no GPU.
    """
    found: list[dict[str, Any]] = []
    problem = io.StringIO()
    with _caught(found, start), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(problem):
        try:
            code = run.main(shlex.split(line))
        except SystemExit as end:
            code = int(str(end.code))
    said = _older(problem.getvalue().replace(f"{ROOT}/", "").strip())
    assert (code == 2) == bool(said), said
    return said if code else found[0] if len(found) == 1 else found


def _names() -> set[str]:
    return {*algorithms(), *TASKS, *STYLES, *REWARDS, *SUITES}


@cache
def _known() -> set[str]:
    """The names there were when the lines were recorded."""
    line = next(line for line in FILE.read_text(encoding="utf-8").splitlines() if line.startswith("known: "))
    return set(yaml.safe_load(line)["known"])


def _older(text: str) -> str:
    """A refusal without the algorithms, tasks and the like that have come since: what it lists grows with them."""
    for name in _names() - _known():
        listed = rf"{re.escape(name)}( on instructions)?"
        text = re.sub(rf"(?<![\w-]){listed}, |, {listed}(?![\w-])", "", text)
    return text


@contextlib.contextmanager
def _caught(found: list[dict[str, Any]], start: dict[str, Any]) -> Iterator[None]:
    """Instead of starting anything, note down what would be."""

    def note(experiment: Experiment, **how: Any) -> None:
        now = values(experiment)
        assert now.keys() == start.keys()
        differing = {name: value for name, value in now.items() if value != start[name]}
        found.append({**differing, **{f"({name})": value for name, value in how.items() if value not in (None, False)}})

    def launch(experiment: Experiment, out: Path, *, stall_minutes: float, given: Any, **how: Any) -> int:
        minutes = None if stall_minutes == 30 else stall_minutes
        note(experiment, out=_stem(out, experiment), stall_minutes=minutes, **how)
        return 0

    def start_all(plan: Any, folder: Path, parallel: int) -> int:
        for each in plan:
            note(each.experiment, run=each.name, parallel=None if parallel == 1 else parallel)
        return 0

    def evaluate(experiments: Any, weights: Any, sampling: Any, out: Path, *, stall_minutes: float) -> int:
        for part, experiment in experiments.items():
            drawn = [sampling.n_samples, sampling.temperature, sampling.top_p, list(sampling.ks or ())]
            note(experiment, part=part.name, sampling=None if drawn == [1, 0.0, 1.0, []] else drawn)
        return 0

    def dry_run(experiment: Experiment, out: Path, **_: Any) -> str:
        note(experiment, run=out.name)
        return ""

    with contextlib.ExitStack() as held:
        for place, name, instead in (
            (train, "launch", launch),
            (stored_template, "fetch_small_files", lambda model: None),
            (sweep, "start", start_all),
            (reproduce, "start", start_all),
            (pipeline, "dry_run", dry_run),
            (eval_parts, "evaluate", evaluate),
        ):
            held.enter_context(mock.patch.object(place, name, instead))
        held.enter_context(mock.patch("recipes.common.machine.visible_devices", return_value=[]))
        held.enter_context(mock.patch("os.cpu_count", return_value=2))
        held.enter_context(mock.patch.dict(os.environ))
        held.enter_context(contextlib.chdir(ROOT))
        yield


def _stem(out: Path, experiment: Experiment) -> str | None:
    """The folder where it is not the one of the experiment's hash, which the values tell already."""
    usual = experiment.default_name
    return None if out.name == usual else out.name.replace(usual, "...")


def main() -> None:
    start = base()
    # Written with all the names there are now, among which `known` will count them.
    with mock.patch.dict(globals(), _known=_names):
        lines = {line: meaning(line, start) for line in recorded()[1]}
    head = FILE.read_text(encoding="utf-8").partition("known:")[0]
    shown = [f"  {_flow(line)}: {_flow(each)}" for line, each in lines.items()]
    known = sorted(_names())
    FILE.write_text(
        f"{head}known: {_flow(known)}\nbase: {_flow(start)}\nlines:\n" + "\n".join(shown) + "\n", encoding="utf-8"
    )


def _flow(value: Any) -> str:
    """As YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=10**6, sort_keys=False, default_style=_QUOTED.get(type(value))
    )
    return text.removesuffix("\n...\n").strip()


_QUOTED = {str: '"'}


if __name__ == "__main__":
    main()
