"""Which rows of a user's file become the test part: drawn by a hash, so that further rows move no others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from data_prep.faults import CustomDataError, OneQuestionError


def drawn_for_test(keys: Sequence[str], seed: int, test_share: float, path: Path, what: str) -> list[bool]:
    """Which rows are test rows: those whose key's hash, a number in [0, 1), is below the share.

    Args:
        keys: of the rows; equal keys are drawn together.
        path, what: the file and what its keys name ("questions"), for the message.

    Raises:
        CustomDataError: for a share that is none, or when one of the two parts would be empty.
    """
    if not 0.0 < test_share < 1.0:
        raise CustomDataError(f"--test-share {test_share}: must be between 0 and 1, such as 0.1")
    places = [_place(key, seed) for key in keys]
    drawn = [place < test_share for place in places]
    if len(set(places)) == 1:
        raise OneQuestionError(
            f"{path}: has 1 different {what[:-1]}, and a training and a test part need at least 2; add some, or give "
            f"`python3 -m data_prep validate {path} --out FOLDER` a file of test rows with --test"
        )
    if all(drawn) or not any(drawn):
        empty = "train" if all(drawn) else "test"
        # the share at which the nearest key changes sides, rounded so that it does
        nearest = max(places) - 5e-5 if all(drawn) else min(places) + 5e-5
        raise CustomDataError(
            f"{path}: of its {len(set(places))} different {what} none falls into the {empty} part with --test-share "
            f"{test_share} and --seed {seed}; take --test-share {nearest:.4f}, another --seed, or a file of test rows "
            f"with --test: flags of `python3 -m data_prep validate {path} --out FOLDER`, a folder for --data"
        )
    return drawn


def _place(key: str, seed: int) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") / 2**64
