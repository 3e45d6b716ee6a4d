"""How a command handles a request to stop: Ctrl-C, SIGTERM, SIGHUP or SIGQUIT."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop; it cleans up as it unwinds."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def name_of_signal(number: int) -> str:
    """The usual name: "Ctrl-C", "SIGTERM"."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


@contextmanager
def stopping() -> Iterator[None]:
    """Within the block the first such signal raises `Stopped`; later ones do not interrupt the clean-up."""
    asked: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if len(asked) == 1:
            raise Stopped(number)

    with _handled_by(stop):
        yield


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Within the block such signals are only appended to the list this yields."""
    asked: list[int] = []
    with _handled_by(lambda number, _: asked.append(number)):
        yield asked


@contextmanager
def undisturbed() -> Iterator[None]:
    """Defers such signals until after the block: a process that is just being started would be left behind."""
    with asked_to_stop() as asked:
        yield
    if asked:
        signal.raise_signal(asked[0])


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # nohup and shells' background jobs ignore some of them on purpose.
        before = {number: was for number in ASKING if (was := signal.getsignal(number)) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
