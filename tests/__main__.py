"""`python3 -m tests [pytest arguments]`: all tests, inside the environment install.sh made."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run import enter_environment

if __name__ == "__main__":
    enter_environment(["-m", "tests", *sys.argv[1:]])
    import pytest

    sys.exit(pytest.main(["--durations", "12", *sys.argv[1:]]))
