"""Silences a logger temporarily, except for errors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hushed(name: str) -> Iterator[None]:
    """Suppresses the warnings of that logger: our own message says what is wrong."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
