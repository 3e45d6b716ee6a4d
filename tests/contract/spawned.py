"""What test_warm.py has a spawned process do. Imports nothing that the server has."""

import os
import sys
from typing import Any

WARM = "torch" in sys.modules


def answer(pipe: Any) -> None:
    """Say who it is, and end when told."""
    pipe.send(f"{os.getpid()} {WARM}")
    pipe.recv()
