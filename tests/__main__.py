"""`python3 -m tests [quick | all | pytest arguments]`: all tests, inside the environment install.sh made.

Without arguments the quick ones run first, then the training runs; two at a time, because each waits half of its time.
`quick` runs the first part alone; `all` also what takes too long for every change, and writes docs/tests.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run import enter_environment

# Tests of one file share their runs, so a file stays with one worker.
TWO = ["-n", "2", "--dist", "loadfile"]
QUICK = ["-m", "not e2e and not extended", *TWO]
RUNS = ["-m", "e2e and not extended", *TWO]
EXTENDED = ["-m", "extended", *TWO]


def main(arguments: list[str]) -> int:
    """The exit code of pytest, of the first part that failed."""
    if arguments == ["all"]:
        return _all()
    parts = [QUICK] if arguments == ["quick"] else [arguments] if arguments else [QUICK, RUNS]
    return _run(parts)


def _run(parts: list[list[str]]) -> int:
    codes = [subprocess.call([sys.executable, "-m", "pytest", "--durations", "12", *part]) for part in parts]
    return next((code for code in codes if code), 0)


def _all() -> int:
    from tests.times import TIMES, write_table

    with tempfile.TemporaryDirectory() as folder:
        times, started = Path(folder) / "times.json", time.monotonic()
        os.environ[TIMES] = str(times)
        code = _run([QUICK, RUNS, EXTENDED])
        write_table(times, time.monotonic() - started)
    return code


if __name__ == "__main__":
    enter_environment(["-m", "tests", *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))
