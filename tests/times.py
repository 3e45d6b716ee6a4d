"""Seconds of every test file: held to a budget, and written into docs/tests.md by `python3 -m tests all`."""

import json
import os
import platform
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

from tests import ROOT

TABLE = ROOT / "docs/tests.md"
TIMES = "UFT_TEST_TIMES"
"""Environment variable: a file to which the times of a session are added."""

BUDGETS = {"tests/unit": 180.0, "tests/contract": 300.0, "tests/e2e": 900.0, "tests/gpu": 900.0}
"""Seconds of a file, by its folder: three times what an ordinary one takes on two cores that are busy with others."""

LONGER = {
    "tests/contract/test_verl_hooks.py": 500.0,  # all that verl and vLLM import, twice
    "tests/unit/repository/test_install_failures.py": 500.0,  # an environment with pip
    "tests/unit/recipes/commands/test_sweep_runs.py": 500.0,  # runs that take their time
    "tests/unit/data_prep/test_chain_base.py": 500.0,  # the bases write chains
    "tests/unit/recipes/run/test_killed.py": 500.0,  # some 250 kills, each gone on from
    "tests/unit/repository/test_code_style.py": 500.0,  # mypy of everything
    "tests/unit/repository/test_documented_commands.py": 500.0,  # some 150 commands
    "tests/e2e/test_algorithms.py": 2000.0,  # a run for each of four algorithms
    "tests/e2e/test_alignment_runs.py": 2000.0,
    "tests/e2e/test_notebook.py": 1500.0,  # four trainings
    "tests/e2e/test_model_of_100m.py": 2000.0,  # four trainings of 135 million parameters, and their evaluations
    "tests/e2e/test_published_models.py": 1500.0,
    "tests/e2e/test_resume.py": 1500.0,
    "tests/e2e/test_resume_everywhere.py": 2500.0,  # three runs of each trainer
    "tests/e2e/test_killed_anywhere.py": 1500.0,  # ten kills
    "tests/e2e/test_odd_machines.py": 1500.0,
}
"""Files with a reason for more."""

FIRST = [
    f"tests/e2e/test_{name}.py"
    for name in (
        *("published_models", "suites", "watchdog", "passes", "resume_supervised", "alignment_runs"),
        *("resume", "algorithms", "own_algorithm", "supervised", "tasks"),
    )
]
"""Files that start runs: begun before the others, the longest first, so that no worker waits for another's last run.

The second line's runs are served by a system that then stays up: two of those, and two runs with a start of their own
beside them, are more than 24 GiB hold."""

SLOW = (
    "tests/contract",
    "tests/gpu",
    *(
        f"tests/unit/{folder}/test_{name}.py"
        for folder, names in {
            "data_prep": ("chain_base", "countdown_data", "countdown_import", "kk_import", "preference_toy"),
            "eval": ("report_in_browser", "report_page"),
            "recipes/algorithms": ("own_algorithms_files", "own_algorithms_hooks"),
            "recipes/commands": ("sweep_runs",),
            "recipes/data": (
                "data_sets",
                "hint_alone_as_trained",
                "hint_alone_of_tasks",
                "solutions_through_the_tokenizer",
            ),
            "recipes/run": ("hub", "killed"),
            "recipes/settings": ("refused_data", "refused_devices", "refused_flags"),
            "recipes/watch": ("run_processes", "supervise"),
            "repository": ("code_style", "documented_commands", "install_detection", "install_failures", "times"),
            "reward_fns": ("audit", "reward_pool"),
        }.items()
        for name in names
    ),
)
"""Files, and folders of them, that take longer than ten seconds or need verl: not among the quick tests."""


def budget(file: str) -> float:
    """Seconds that a test file may take, all its fixtures included."""
    return LONGER.get(file, next((seconds for folder, seconds in BUDGETS.items() if file.startswith(folder)), 60.0))


def place(file: str) -> tuple[int, float]:
    """Files are begun in this order."""
    return FIRST.index(file) if file in FIRST else len(FIRST), -budget(file)


class Times:
    """Adds up what pytest reports of each file."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.outcomes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, nodeid: str, when: str, outcome: str, seconds: float) -> None:
        """One phase of one test."""
        file = nodeid.partition("::")[0]
        self.seconds[file] += seconds
        if when == "call" or outcome != "passed":
            self.outcomes[file][outcome] += 1

    def over(self) -> list[str]:
        """A line for each file that took longer than its budget."""
        return [
            f"{file}: {seconds:.0f} s, over its budget of {budget(file):.0f} s (tests/times.py)"
            for file, seconds in sorted(self.seconds.items())
            if seconds > budget(file)
        ]

    def write(self) -> None:
        """Add the session to the file that TIMES names, if it names one."""
        if file := os.environ.get(TIMES):
            before = json.loads(Path(file).read_text()) if Path(file).exists() else {}
            for name, seconds in self.seconds.items():
                found = Counter({"seconds": seconds, **self.outcomes[name]})
                # Some tests of a file may have run in another part.
                found.update(before.get(name, {}))
                before[name] = dict(found)
            Path(file).write_text(json.dumps(before), encoding="utf-8")


def write_table(times: Path, wall: float) -> None:
    """The table of docs/tests.md from the times of a session of all tests."""
    found = json.loads(times.read_text(encoding="utf-8"))
    total = {key: sum(each.get(key, 0) for each in found.values()) for key in ("passed", "failed", "skipped")}
    version = platform.python_version()
    lines = [
        "# The tests, and what they cost",
        "",
        f"Written by `python3 -m tests all` on {date.today()} ({os.cpu_count()} cores, Python {version}): "
        f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped in {wall / 60:.0f} minutes.",
        "Two files run at a time, so the seconds of the files add up to more. A file that takes longer than its budget",
        "fails the session (`tests/times.py`).",
        "",
        "| file | seconds | budget | passed | failed | skipped |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in sorted(found.items(), key=lambda item: -item[1]["seconds"]):
        counts = " | ".join(str(each.get(key, 0)) for key in ("passed", "failed", "skipped"))
        lines.append(f"| {name.removeprefix('tests/')} | {each['seconds']:.0f} | {budget(name):.0f} | {counts} |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
