"""Turns the end of a log and the watchdog's observations into one paragraph: what happened, why, what to do.
Reads text only, touches no process; known causes are in causes.py, traceback parsing is in tracebacks.py."""

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
_SYMPTOMS = {"engine_dead", "collective", "weight_sync"}
"""Causes that say what died or stopped responding, not why."""
_RAYLET = (
    "Ray's raylet had ended, and with it the shared memory that all processes use. It was killed, by hand or by the "
    "kernel because memory ran out (dmesg)."
)
LONGEST_LINE = 400
_LEAST_FREE_BYTES = 1 << 20


@dataclass(frozen=True)
class Facts:
    """What the watchdog saw. Times in seconds; `exit_code` is negative for a signal, None if the command still ran."""

    title: str
    reason: Reason
    log: Path
    exit_code: int | None = None
    heartbeat: Heartbeat | None = None
    quiet_s: float = 0.0
    dead: Sequence[str] = ()
    gone: Sequence[str] = ()
    """Processes without which verl hangs, and which were seen to end."""
    stack: Sequence[str] = ()
    stopped: Sequence[str] = ()
    """Processes stopped by SIGSTOP and not resumed."""
    oom_kills: int = 0
    addresses: int | None = None
    """Limit on a process's address space in bytes (ulimit -v), if there is one."""
    full: Sequence[Path] = ()
    """Folders on full disks: the log may be on one of them, and then does not mention it."""


def diagnose(log_tail: str, facts: Facts) -> str:
    """One paragraph that names the cause of a failure and the fix."""
    raised = root_exception(log_tail)
    cause = _cause(log_tail, raised, facts)
    if cause and cause.name == "shared_memory" and any("raylet" in name for name in facts.gone):
        # A bus error: any process that had its pages mapped is killed when it next reads them.
        cause = replace(cause, fix=_RAYLET)
    parts = [f"{facts.title} {_event(facts)} {position(facts.heartbeat)}."]
    if raised and not raised.is_wrapper:
        parts.append(f"The cause: {_sentence(str(raised))}")
    elif raised and not cause:
        parts.append(f"The log says only: {_sentence(str(raised))}")
    if facts.dead and facts.reason != "lost_worker":
        parts.append(f"Before that, {_listed(facts.dead)} had ended.")
    if cause:
        parts.append(cause.fix)
    elif not raised and facts.reason in ("failed", "lost_worker"):
        line = last_words(log_tail)
        parts.append(f"The log has no exception; its last line: {_sentence(line)}" if line else "The log is empty.")
    if facts.stopped:
        parts.append(f"SIGSTOP suspended {_listed(facts.stopped)}.")
    elif facts.stack:
        parts.append("It waits in " + " < ".join(facts.stack[:STACK_FRAMES]) + ".")
    if facts.reason == "stalled" and not cause and not raised and not facts.stopped:
        parts.append("If the work is just slow, allow more time with --stall_minutes.")
    parts.append(f"The full output is in {facts.log}.")
    return " ".join(parts)


def last_words(log_text: str) -> str:
    """The last line of a log with a word in it, without prefixes and colours."""
    lines = [line.strip() for _, line in bare_lines(log_text) if re.search(r"\w", line)]
    return lines[-1][:LONGEST_LINE] if lines else ""


def full_disks(folders: Iterable[Path]) -> list[Path]:
    """The folders whose disks are (almost) full."""
    found = []
    for folder in folders:
        with suppress(OSError):
            disk = os.statvfs(folder)
            if disk.f_bavail * disk.f_frsize < _LEAST_FREE_BYTES or (disk.f_files and not disk.f_favail):
                found.append(folder)
    return found


def explains(log_text: str) -> bool:
    """Whether this part of a log explains a failure, so that no more of it need be read."""
    raised = root_exception(log_text)
    return bool((raised and not raised.is_wrapper) or cause_in_log(log_text))


def position(beat: Heartbeat | None) -> str:
    """Where a run was: "after 12 of 500 steps, while generating answers"."""
    if beat is None:
        return "while starting, before the first sign of life from the trainer"
    if beat.phase == "starting":
        # The step it resumes from is not known yet.
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
        return "it reported this, but its process did not end"
    killed_by = -code if code < 0 else code - 128
    if killed_by > 0:
        try:
            return f"killed by {signal.Signals(killed_by).name}"
        except ValueError:
            pass
    return f"exit code {code}"


def _cause(log_tail: str, raised: Raised | None, facts: Facts) -> Cause | None:
    """The cause by the exception; the rest of the log is searched only if there is none.

    Logs are full of harmless lines that look like causes, above all the list of possible ones in Ray's ActorDiedError.
    """
    if raised and not raised.is_wrapper:
        cause = cause_of(f"{raised.type}: {raised.message}") or _weight_sync(raised)
        if facts.addresses and cause is not None and cause.name in ("threads", "host_oom"):
            return _address_limit(facts.addresses)
        if not facts.oom_kills or cause is None or cause.name not in _SYMPTOMS:
            return cause
    if facts.exit_code in (-signal.SIGBUS, 128 + signal.SIGBUS):
        return named("shared_memory")
    if facts.full:
        where = f"The disk of {_listed([str(folder) for folder in facts.full])} is full. "
        return replace(named("disk_full"), fix=where + named("disk_full").fix)
    if facts.oom_kills:
        count = f"The kernel killed {facts.oom_kills} of this machine's processes because memory ran out. "
        return replace(named("host_oom"), fix=count + named("host_oom").fix)
    cause = cause_in_log(log_tail)
    if facts.addresses and (cause is None or cause.name in ("threads", "host_oom")):
        return _address_limit(facts.addresses)
    if cause:
        return cause
    if facts.exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        guess = "It was killed from outside; if not by you, by the kernel because memory ran out. "
        return replace(named("host_oom"), fix=guess + named("host_oom").fix)
    return None


def _address_limit(limit: int) -> Cause:
    """When address space runs out, whatever asks for some next fails: a thread, an allocation, a mapped file."""
    text = (
        f"The address space of a process is limited to {limit / 1e9:.1f} GB here (ulimit -v), and Ray, torch and vLLM "
        f"reserve much more than they use: ulimit -v unlimited. "
    )
    return replace(named("host_oom"), fix=text + named("host_oom").fix)


def _weight_sync(raised: Raised) -> Cause | None:
    cause = named("weight_sync")
    return cause if cause.pattern.search(raised.traceback) else None


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:3])
    return f"{shown} and {len(unique) - 3} more" if len(unique) > 3 else shown


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
