"""`python3 -m tests [quick | pytest arguments]`: all tests, inside the environment install.sh made.

Without arguments the quick ones run first, then the training runs; two at a time, because each waits half of its time.
`quick` leaves the training runs out.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run import enter_environment

# Tests of one file share their runs, so a file stays with one worker.
TWO = ["-n", "2", "--dist", "loadfile"]
QUICK = ["-m", "not e2e", *TWO]
RUNS = ["-m", "e2e", *TWO]


def main(arguments: list[str]) -> int:
    """The exit code of pytest, of the first part that failed."""
    parts = [QUICK] if arguments == ["quick"] else [arguments] if arguments else [QUICK, RUNS]
    codes = [subprocess.call([sys.executable, "-m", "pytest", "--durations", "12", *part]) for part in parts]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    enter_environment(["-m", "tests", *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))
