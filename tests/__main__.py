"""`python3 -m tests [pytest arguments]`: all tests, inside the environment install.sh made.

Two files at a time: an end-to-end run mostly waits for one process after another to import, so that two of them use a
small machine best.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run import enter_environment

if __name__ == "__main__":
    enter_environment(["-m", "tests", *sys.argv[1:]])
    import pytest

    sys.exit(pytest.main(["-n", "2", "--dist", "loadfile", "--durations", "12", *sys.argv[1:]]))
