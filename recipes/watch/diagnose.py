"""Turns the end of a log and what the watchdog saw into one paragraph: what happened, why, what to do.
Reads text only, touches no process; the knowledge of causes is in causes.py, of tracebacks in tracebacks.py."""

import os
import re
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from recipes.watch.causes import Cause, cause_in_log, cause_of, named
from recipes.watch.heartbeat import PHASES, Heartbeat
from recipes.watch.pace import duration
from recipes.watch.signs import Reason
from recipes.watch.tracebacks import Raised, bare_lines, root_exception

STACK_FRAMES = 6
_OF_A_DEAD_PROCESS = {"engine_dead", "collective", "weight_sync"}
"""Causes that say what died, or fell silent, and not why."""
_RAYLET = (
    "Ray's raylet had ended, and with it the shared memory that all others use. Somebody killed it, or the kernel did, "
    "for want of memory (dmesg)."
)
LONGEST_LINE = 400
_LEAST_ROOM = 1 << 20


@dataclass(frozen=True)
class Facts:
    """What the watchdog saw. Times in seconds; `exit_code` is negative for a signal, None while the command lived."""

    title: str
    reason: Reason
    log: Path
    exit_code: int | None = None
    heartbeat: Heartbeat | None = None
    quiet_s: float = 0.0
    dead: Sequence[str] = ()
    gone: Sequence[str] = ()
    """Processes without which verl hangs that were seen to end."""
    stack: Sequence[str] = ()
    stopped: Sequence[str] = ()
    """Processes that somebody has stopped (SIGSTOP), and nobody has let go on."""
    oom_kills: int = 0
    addresses: int | None = None
    """Bytes of addresses that a process may have (ulimit -v), where they are limited."""
    full: Sequence[Path] = ()
    """Folders on disks without room: the log may lie there, and so hold no word of it."""


def diagnose(log_tail: str, facts: Facts) -> str:
    """One paragraph that names the cause of a failure and its fix."""
    raised = root_exception(log_tail)
    cause = _cause(log_tail, raised, facts)
    if cause and cause.name == "shared_memory" and any("raylet" in name for name in facts.gone):
        # A bus error: whoever had its pages mapped is killed by the next look at them.
        cause = replace(cause, fix=_RAYLET)
    parts = [f"{facts.title} {_event(facts)} {position(facts.heartbeat)}."]
    if raised and not raised.is_wrapper:
        parts.append(f"The cause: {_closed(str(raised))}")
    elif raised and not cause:
        parts.append(f"The log says only: {_closed(str(raised))}")
    if facts.dead and facts.reason != "lost_worker":
        parts.append(f"Before that, {_listed(facts.dead)} had ended.")
    if cause:
        parts.append(cause.fix)
    elif not raised and facts.reason in ("failed", "lost_worker"):
        said = last_words(log_tail)
        parts.append(f"The log holds no exception; its last line: {_closed(said)}" if said else "The log is empty.")
    if facts.stopped:
        parts.append(f"A signal (SIGSTOP) held up {_listed(facts.stopped)}.")
    elif facts.stack:
        parts.append("It waits in " + " < ".join(facts.stack[:STACK_FRAMES]) + ".")
    if facts.reason == "stalled" and not cause and not raised and not facts.stopped:
        parts.append("If the work is just slow, allow more with --stall_minutes.")
    parts.append(f"The whole output is in {facts.log}.")
    return " ".join(parts)


def last_words(log_text: str) -> str:
    """The last line of a log that says something, as a person would read it."""
    said = [line.strip() for _, line in bare_lines(log_text) if re.search(r"\w", line)]
    return said[-1][:LONGEST_LINE] if said else ""


def full_disks(folders: Iterable[Path]) -> list[Path]:
    """Those of the folders on whose disks hardly anything can be written any more."""
    found = []
    for folder in folders:
        with suppress(OSError):
            disk = os.statvfs(folder)
            if disk.f_bavail * disk.f_frsize < _LEAST_ROOM or (disk.f_files and not disk.f_favail):
                found.append(folder)
    return found


def explains(log_text: str) -> bool:
    """Whether a part of a log holds a reason for a failure, so that no more of it need be read."""
    raised = root_exception(log_text)
    return bool((raised and not raised.is_wrapper) or cause_in_log(log_text))


def position(beat: Heartbeat | None) -> str:
    """Where a run stood: "after 12 of 500 steps, while generating answers"."""
    if beat is None:
        return "while starting, before the first sign of life from the trainer"
    if beat.phase == "starting":
        # Where it resumes from is not read yet.
        return f"while {PHASES[beat.phase]}"
    steps = f"after {beat.step} of {beat.total_steps} steps"
    return steps if beat.phase in ("finished", "failed") else f"{steps}, while {PHASES.get(beat.phase, beat.phase)}"


def _event(facts: Facts) -> str:
    match facts.reason:
        case "stalled":
            return f"made no progress for {duration(facts.quiet_s)} and was stopped"
        case "lost_worker":
            return f"lost {_listed(facts.dead)}, without which verl hangs, and was stopped"
        case "engine_error":
            return f"had an error in a worker, made no progress for {duration(facts.quiet_s)} after it, and was stopped"
        case "incomplete":
            return "ended without an error but before its last step,"
        case _:
            return f"failed ({_exit(facts.exit_code)})"


def _exit(code: int | None) -> str:
    if code is None:
        return "it said so, but its process did not end"
    killed_by = -code if code < 0 else code - 128
    if killed_by > 0:
        try:
            return f"killed by {signal.Signals(killed_by).name}"
        except ValueError:
            pass
    return f"exit code {code}"


def _cause(log_tail: str, raised: Raised | None, facts: Facts) -> Cause | None:
    """An exception speaks for itself; the rest of the log is asked only where none was found.

    Logs are full of harmless lines that look like causes, above all the list of possible ones in Ray's ActorDiedError.
    """
    if raised and not raised.is_wrapper:
        cause = cause_of(f"{raised.type}: {raised.message}") or _weight_sync(raised)
        if facts.addresses and cause is not None and cause.name in ("threads", "host_oom"):
            return _of_addresses(facts.addresses)
        if not facts.oom_kills or cause is None or cause.name not in _OF_A_DEAD_PROCESS:
            return cause
    if facts.exit_code in (-signal.SIGBUS, 128 + signal.SIGBUS):
        return named("shared_memory")
    if facts.full:
        where = f"There is no room left on the disk of {_listed([str(folder) for folder in facts.full])}. "
        return replace(named("disk_full"), fix=where + named("disk_full").fix)
    if facts.oom_kills:
        count = f"For want of memory the kernel killed {facts.oom_kills} of this machine's processes. "
        return replace(named("host_oom"), fix=count + named("host_oom").fix)
    cause = cause_in_log(log_tail)
    if facts.addresses and (cause is None or cause.name in ("threads", "host_oom")):
        return _of_addresses(facts.addresses)
    if cause:
        return cause
    if facts.exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        guess = "Somebody or something killed it from outside; if you did not, it was the kernel, short of memory. "
        return replace(named("host_oom"), fix=guess + named("host_oom").fix)
    return None


def _of_addresses(limit: int) -> Cause:
    """Where they run out, whatever comes next fails: a thread, an allocation, a file that is mapped."""
    told = (
        f"A process here may have {limit / 1e9:.1f} GB of addresses (ulimit -v), of which Ray, torch and vLLM reserve "
        f"much more than they use: ulimit -v unlimited. "
    )
    return replace(named("host_oom"), fix=told + named("host_oom").fix)


def _weight_sync(raised: Raised) -> Cause | None:
    cause = named("weight_sync")
    return cause if cause.pattern.search(raised.traceback) else None


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:3])
    return f"{shown} and {len(unique) - 3} more" if len(unique) > 3 else shown


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else sentence + "."
