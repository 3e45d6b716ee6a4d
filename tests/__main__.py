"""`python3 -m tests [quick | all | cuda-stack | pytest arguments]`: all tests, inside the environment install.sh made.

Without arguments the quick ones run first, then the slow ones, then the training runs; two files at a time, because
each waits half of its time. `quick` runs the first part alone (three minutes); `all` also what takes too long for every
change, and writes docs/tests.md; `cuda-stack` runs the first two parts under the packages of a GPU machine, for which
it needs no GPU (tests/gpu/cuda_stack.py), and writes docs/gpu_status.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import ROOT
from tests.times import SLOW

# Tests of one file share their runs, so a file stays with one worker; in the order of tests/conftest.py.
TWO = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
USUAL = ["-m", "not extended", *TWO]
QUICK = ["tests/unit", *(f"--ignore={file}" for file in SLOW), *USUAL]
EVERYTHING = [QUICK, [*SLOW, *USUAL], ["tests/e2e", *USUAL]]
EXTENDED = ["-m", "extended", *TWO]


def main(arguments: list[str]) -> int:
    """The exit code of pytest, of the first part that failed."""
    if arguments == ["all"]:
        return _all()
    if arguments[:1] == ["cuda-stack"]:
        from tests.gpu.cuda_stack import main as under_cuda_stack

        return under_cuda_stack(arguments[1:])
    return _run([QUICK] if arguments == ["quick"] else [arguments] if arguments else EVERYTHING)


def _run(parts: list[list[str]]) -> int:
    command = [sys.executable, "-m", "pytest", "--durations", "12"]
    codes = [subprocess.call([*command, *part], cwd=ROOT) for part in parts]
    return next((code for code in codes if code), 0)


def _all() -> int:
    from tests.times import TIMES, write_table

    with tempfile.TemporaryDirectory() as folder:
        times, started = Path(folder) / "times.json", time.monotonic()
        os.environ[TIMES] = str(times)
        code = _run([*EVERYTHING, EXTENDED])
        write_table(times, time.monotonic() - started)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
