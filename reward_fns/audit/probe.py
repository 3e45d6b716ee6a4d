"""Runs in a worker of the pool: calls one scorer, and watches which files, sockets and processes the call uses.

The scorer comes from the environment (SCORER), so that its import and warm-up calls fall under the worker's time limit
for imports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

from reward_fns import compute_score, custom, has_failed, is_custom
from reward_fns.audit.names import CANARY, SCORER, VERL
from reward_fns.verdict import reason

_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
_SOCKETS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind")
_SHOWN = 160

_seen: list[list[str]] | None = None
"""[kind, what] of the current call; None between calls."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event == "exec":
        code = arguments[0]
        if isinstance(code, CodeType) and any(CANARY in name for name in code.co_names):
            _note("executed", f"{code.co_names}")
    elif event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if CANARY in str(path):
            _note("executed", f"open {path}")
        elif writes and not str(path).endswith((".pyc", "/dev/null")) and ".pyc." not in str(path):
            _note("file", str(path))
    elif event in _PROCESSES or event in _SOCKETS:
        what = " ".join(map(str, arguments[:2])) or event
        if CANARY in what:
            _note("executed", f"{event} {what}")
            # No connection is made, even though the name does not exist.
            if event in _SOCKETS:
                raise PermissionError("an audit's payload")
        else:
            _note("process" if event in _PROCESSES else "socket", what)


def _note(kind: str, what: str) -> None:
    assert _seen is not None
    entry = [kind, what[:_SHOWN]]
    if entry not in _seen:
        _seen.append(entry)


def _scorer(spec: str) -> Callable[[str, Any, str, str, str], dict[str, Any]]:
    """(response, truth, question, source, answer format) -> {"score", "failed"}, for all three kinds of scorer."""
    if spec.startswith(VERL):
        found = importlib.import_module(f"verl.utils.reward_score.{spec.removeprefix(VERL)}").compute_score

        def by_verl(response: str, truth: Any, *_: str) -> dict[str, Any]:
            value: Any = found(response, truth)
            value = value["score"] if isinstance(value, dict) else value
            return {"score": float(value[0] if isinstance(value, tuple | list) else value), "failed": ""}

        return by_verl
    if is_custom(spec):
        custom.load(spec)
        return lambda response, truth, question, *_: {
            "score": custom.score(spec, response, truth, question).score,
            "failed": "",
        }

    def built_in(response: str, truth: Any, question: str, source: str, answer_format: str) -> dict[str, Any]:
        asked: Any = {"question": question}
        value = compute_score(source, response, truth, asked, reward=spec, answer_format=answer_format)  # type: ignore[arg-type]
        return {
            "score": value["score"],
            "failed": value["pred"] if has_failed(value) else "",
        }

    return built_in


def call(response: str, truth: Any, question: str, source: str, answer_format: str, canary: str) -> dict[str, Any]:
    """One verdict and what was observed: {"score": or None, "failed": why, "seconds", "seen": [[kind, what]]}.

    Args:
        canary: the file that the response's payload would create; empty if there is none.
    """
    global _seen
    _seen = []
    began = time.monotonic()
    try:
        found: dict[str, Any] = _SCORER(response, truth, question, source, answer_format)
    except Exception as error:  # whatever the scorer raises on an answer is a finding
        found = {"score": None, "failed": reason(error)[:300]}
    if "MemoryError" in found["failed"]:
        raise MemoryError  # which the worker would have seen if the scorer had not caught it
    seconds = time.monotonic() - began
    seen, _seen = _seen, None
    if canary and Path(canary).exists():
        seen.append(["executed", f"made {canary}"])
        Path(canary).unlink()
    return {**found, "seconds": seconds, "seen": seen}


def _warmed(scorer: Callable[..., dict[str, Any]], first: list[Any]) -> Callable[..., dict[str, Any]]:
    """The scorer, after its first calls have loaded and started whatever they need."""
    for _ in range(5):
        began = time.monotonic()
        with contextlib.suppress(Exception):  # will be raised again when it counts
            scorer(*first)
        if time.monotonic() - began < 1.0:
            break
    return scorer


_told = json.loads(os.environ[SCORER])
_SCORER = _warmed(_scorer(_told["spec"]), _told["first"])
sys.addaudithook(_watch)
