"""Finds the exception that started a failure in the mixed output of many processes (Ray, vLLM, torchrun).
Lines are separated by process, stripped of prefixes and colours, then parsed as Python tracebacks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RAY_REPEATED = re.compile(r"\s*\[repeated \d+x across cluster\].*$")
# Prefixes of a line: "(WorkerDict pid=12, ip=1.2.3.4) ", "[rank0]: ", "ERROR 11-21 09:01:23 [core.py:858] ".
_PREFIX = re.compile(
    r"^(?:\((?P<process>[\w:. -]*?(?:pid=\d+|raylet)[^)]*)\)"
    r"|(?P<rank>\[rank\d+\]):"
    r"|(?:ERROR|CRITICAL|WARNING|INFO) \d\d-\d\d [\d:]+ \[[^\]]*\]) ?"
)
_HEADER = "Traceback (most recent call last):"
# Ray prints a remote traceback after such a line, often without the header.
_REMOTE = re.compile(r"\bray::\S+\(\) \(pid=\d+")
_FRAME = re.compile(r'^\s*File "')
_MARKERS_ONLY = re.compile(r"^[\s^~]*$")
_LINK = re.compile(r"^(The above exception was the direct cause|During handling of the above exception)")
_EXCEPTION = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:\([\w., ]*\))?(?:: (?P<message>.*)|:?)$")
_WRAPPERS = re.compile(
    r"(^|\.)(RayTaskError|RayActorError|ActorDiedError|ActorUnavailableError|WorkerCrashedError|EngineDeadError"
    r"|EngineGenerateError|ChildFailedError|SystemExit|KeyboardInterrupt|CancelledError)$"
)
_WRAPPER_MESSAGE = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|See root cause above|See stack trace above"
    # What verl raises when every rollout of a step has failed, whatever the reason.
    r"|no materializable trajectories"
)
_MESSAGE_LINES = 6
_MESSAGE_CHARACTERS = 400


@dataclass(frozen=True)
class Raised:
    """An exception as printed by a traceback. `traceback` is the full text up to and including it."""

    type: str
    message: str
    traceback: str

    @property
    def is_wrapper(self) -> bool:
        """Whether it only reports that something failed elsewhere."""
        return bool(_WRAPPERS.search(self.type) or _WRAPPER_MESSAGE.search(self.message))

    def __str__(self) -> str:
        text = " ".join(f"{self.type}: {self.message}".split()).removesuffix(":")
        return text if len(text) <= _MESSAGE_CHARACTERS else text[: _MESSAGE_CHARACTERS - 4].rstrip() + " ..."


def bare_lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line as (the process that wrote it, the line without prefixes and colours)."""
    for raw in text.splitlines():
        line = _COLOUR.sub("", raw.rpartition("\r")[2])
        source = ""
        while match := _PREFIX.match(line):
            source = match["process"] or match["rank"] or source
            line = line[match.end() :]
        yield source, _RAY_REPEATED.sub("", line)


def root_exception(text: str) -> Raised | None:
    """The exception to show: in the first chain of tracebacks, the last one that does not merely wrap another.

    Later chains are searched if the first holds only wrappers; a wrapper is returned if there is nothing else.
    """
    wrapper = None
    for chain in _chains(text):
        for raised in reversed(chain):
            if not raised.is_wrapper:
                return raised
            wrapper = wrapper or raised
    return wrapper


def _chains(text: str) -> list[list[Raised]]:
    streams: dict[str, list[tuple[int, str]]] = {}
    for number, (source, line) in enumerate(bare_lines(text)):
        streams.setdefault(source, []).append((number, line))
    found = [item for lines in streams.values() for item in _chains_of(lines)]
    return [chain for _, chain in sorted(found, key=lambda item: item[0])]


def _chains_of(lines: list[tuple[int, str]]) -> list[tuple[int, list[Raised]]]:
    """The chains in the output of one process, with the number of each one's first line."""
    chains: list[tuple[int, list[Raised]]] = []
    at, linked = 0, False
    while at < len(lines):
        number, line = lines[at]
        if line.strip() != _HEADER and not _REMOTE.search(line):
            linked = linked or bool(_LINK.match(line.strip()))
            at += 1
            continue
        raised, at = _read_traceback(lines, at)
        if linked and chains:
            chains[-1][1].extend(raised)
        elif raised:
            chains.append((number, raised))
        linked = False
    return chains


def _read_traceback(lines: list[tuple[int, str]], start: int) -> tuple[list[Raised], int]:
    """The exceptions of the traceback whose header is at `start`, and the position after it.

    There are several if Ray prints the remote traceback after its own RayTaskError, frames first.
    """
    indent = len(lines[start][1]) - len(lines[start][1].lstrip())
    body = [line[indent:] if not line[:indent].strip() else line.lstrip() for _, line in lines[start + 1 :]]
    found: list[Raised] = []
    at, framed = 0, False
    while at < len(body) and body[at].strip() != _HEADER:
        line = body[at]
        match = _EXCEPTION.match(line) if framed and not line[:1].isspace() else None
        if not match and not line[:1].isspace():
            break
        at += 1
        framed = (framed and not match) or bool(_FRAME.match(line))
        if match:
            more = _message_lines(body, at)
            at += len(more)
            found.append(
                Raised(match["type"], "\n".join([match["message"] or "", *more]).strip(), "\n".join(body[:at]))
            )
    return found, start + 1 + at


def _message_lines(body: list[str], at: int) -> list[str]:
    """The continuation lines of a multi-line message: up to a blank line, a frame or a new traceback."""
    more: list[str] = []
    for line in body[at : at + _MESSAGE_LINES]:
        if _MARKERS_ONLY.match(line) or _FRAME.match(line) or line.strip() == _HEADER or _LINK.match(line):
            break
        more.append(line)
    return more
