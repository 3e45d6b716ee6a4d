"""The one way to whatever is asked of the hub: quiet while it answers, and a line where it keeps a person waiting."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

from data_prep.hushed import hushed

PATIENCE_S = 4.0
"""Seconds after which somebody would like to know what takes so long."""

# As huggingface_hub tries: six times, with pauses of 1, 2, 4, 8 and 8 seconds.
_TRIES, _PAUSES = 6, 23


@contextmanager
def asking_hub(what: str, name: str = "") -> Iterator[None]:
    """Without the warnings of the hub's client, which has one for every attempt: what is wrong becomes part of a
    message of ours. After some seconds a line says what is waited for, and how long at most; not if `name` is a
    folder here, which the hub is not asked for."""
    waiting = Timer(PATIENCE_S, _tell, [what])
    waiting.daemon = True
    if not (name and Path(name).is_dir()):
        waiting.start()
    try:
        with hushed("huggingface_hub"):
            yield
    finally:
        waiting.cancel()


def _tell(what: str) -> None:
    from huggingface_hub import constants

    where = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
    seconds = _TRIES * max(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT) + _PAUSES
    print(
        f"waiting for {where} ({what}); a request without an answer is given up after {seconds} seconds at most "
        f"(HF_HUB_OFFLINE=1 asks for nothing)",
        file=sys.stderr,
        flush=True,
    )
