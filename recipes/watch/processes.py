"""The processes of a run: how to find and end them, their memory, and the lock of their supervisor.
They are identified by a variable in their environment, and so found even after their parents have died."""

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from recipes.watch.signals import undisturbed

MARK = "UFT_RUN_DIR"
LOCK_NAME = "run.lock"
_PR_SET_CHILD_SUBREAPER = 36
_BUSY_HELP = "Wait for it, stop it with Ctrl-C there, or choose another --out."
_ENDED = (psutil.NoSuchProcess, psutil.ZombieProcess)

_held: set[Path] = set()
"""Run folders whose lock this process holds."""


class RunBusyError(RuntimeError):
    """Another supervisor is using the run directory."""


def marked_environment(run_dir: Path) -> dict[str, str]:
    """The environment a run's first process needs for `processes_of` to find it and its descendants.

    SPT_NOENV keeps setproctitle (in Ray and vLLM) from overwriting the environment that /proc shows.
    """
    return {MARK: str(run_dir.resolve()), "SPT_NOENV": "1"}


def processes_of(run_dir: Path, roots: Iterable[int] = ()) -> list[psutil.Process]:
    """Every running process of the run, oldest first: those with its mark, the `roots`, and all their descendants.

    Never the caller, its ancestors or zombies. Processes of other users cannot be read and are skipped.
    """
    mark = f"{MARK}={run_dir.resolve()}".encode()
    parents: dict[int, int] = {}
    members = set(roots)
    user = os.geteuid()
    for pid in psutil.pids():
        try:
            state, parents[pid] = _state(pid)
            place = Path(f"/proc/{pid}")
            if place.stat().st_uid == user and mark in _environment(place, state):
                members.add(pid)
        except (OSError, ValueError, IndexError):
            continue
    above = _with_ancestors(os.getpid(), parents)
    members -= above
    members |= {pid for pid in parents if pid not in above and not members.isdisjoint(_with_ancestors(pid, parents))}
    return sorted(filter(is_living, _handles(members)), key=lambda process: process.create_time())


def is_living(process: psutil.Process) -> bool:
    """Whether any of the process still runs: not ended, no zombie, its pid not reused."""
    try:
        return process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or _has_other_threads(process.pid))
    except _ENDED:
        return False


def _has_other_threads(pid: int) -> bool:
    """Whether threads outlive the first, as they do for a while in a large process that is killed."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def is_stopped(process: psutil.Process) -> bool:
    """Whether the process is suspended (SIGSTOP, Ctrl-Z)."""
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def end_processes(
    processes: Iterable[psutil.Process], grace_s: float, hurry: Callable[[], bool] = lambda: False
) -> list[psutil.Process]:
    """SIGTERM, up to `grace_s` seconds (or until `hurry`) to clean up, SIGKILL. Returns those still running.

    Children are reaped, also those that ended by themselves: read the exit code of one that is needed before.
    """
    rest = [process for process in processes if not _has_ended(process)]
    for signum, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        for process in rest:
            with suppress(*_ENDED, psutil.AccessDenied):
                process.send_signal(signum)
        limit = time.monotonic() + wait_s
        while rest and time.monotonic() < limit and not (signum == signal.SIGTERM and hurry()):
            rest = [process for process in rest if not _has_ended(process)]
            time.sleep(0.05 if rest else 0)
    return rest


def end_leftovers(run_dir: Path, grace_s: float = 5.0) -> int:
    """End the processes that a killed supervisor left of this run. Returns how many there were.

    Raises:
        RunBusyError: the run's supervisor is still running.
        RuntimeError: a process could not be ended.
    """
    with hold_run(run_dir):
        return end_leftovers_held(run_dir, grace_s)


def end_leftovers_held(run_dir: Path, grace_s: float = 5.0) -> int:
    """`end_leftovers` for a caller that already holds the run."""
    left = processes_of(run_dir)
    if stuck := end_processes(left, grace_s):
        raise RuntimeError(
            f"an earlier run in {run_dir} left processes that cannot be ended: {names(stuck)}. End them by hand."
        )
    return len(left)


@contextmanager
def hold_run(run_dir: Path) -> Iterator[None]:
    """Be the only supervisor of `run_dir` within the block (`run_dir/run.lock`: pid and start time).

    The kernel releases the lock when its holder ends, so a killed supervisor's is simply taken over. Within the block
    the same process may hold it again. A folder that did not exist before and is still empty afterwards is removed.

    Raises:
        RunBusyError: another running supervisor holds it.
    """
    own = run_dir.resolve()
    if own in _held:
        yield
        return
    path, descriptor, new = run_dir / LOCK_NAME, None, not run_dir.exists()
    try:
        with undisturbed():
            run_dir.mkdir(parents=True, exist_ok=True)
            descriptor = _locked(path)
            _held.add(own)
        yield
    finally:
        with undisturbed():
            if descriptor is not None:
                _held.discard(own)
                path.unlink(missing_ok=True)
                os.close(descriptor)
            if new:
                with suppress(OSError):
                    run_dir.rmdir()


def _locked(path: Path) -> int:
    """The file descriptor of a run's lock, taken and with this process's note in it. Raises RunBusyError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if holder := _held_by_another(descriptor):
            os.close(descriptor)
            raise RunBusyError(f"{holder} is already at work in {path.parent}. {_BUSY_HELP}")
        # The previous holder may have removed the file between our opening and locking it.
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        os.close(descriptor)
    me = psutil.Process()
    os.ftruncate(descriptor, 0)
    note = {"pid": me.pid, "start_time": me.create_time(), "host": socket.gethostname()}
    os.pwrite(descriptor, json.dumps(note).encode(), 0)
    return descriptor


@contextmanager
def adopting_orphans() -> Iterator[Callable[[int], set[int]]]:
    """Within the block, orphaned descendants are re-parented to this process instead of init.

    Yields a function that reaps those that ended and returns the pids of those still running. It ignores the child it
    is given, whose exit code the caller waits for, and all children from before the block. Children that the caller's
    other threads start meanwhile would be taken for orphans.
    """
    before = set(_children())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield lambda awaited: {pid for pid in _children() if pid not in before and pid != awaited and not _reaped(pid)}
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def memory_of(processes: Iterable[psutil.Process]) -> int:
    """Main memory of the processes together, in bytes; shared pages count once (PSS, or RSS if PSS is unreadable)."""
    return sum(_memory(process) for process in processes)


def names(processes: Iterable[psutil.Process]) -> str:
    """The processes as text: "raylet (pid 12), python (pid 13)"."""
    return ", ".join(f"{name_of(process)} (pid {process.pid})" for process in processes)


def name_of(process: psutil.Process) -> str:
    """The title of a process ("ray::WorkerDict.update", "raylet"); empty if it has ended."""
    try:
        return process.name()
    except psutil.Error:
        return ""


def titles(members: Iterable[psutil.Process]) -> dict[psutil.Process, str]:
    """The titles of running processes, without children that still have their parent's: forks before their exec, which
    takes seconds on a busy machine. An actor is never the child of an actor of its kind."""
    found = {process: name for process in members if (name := name_of(process))}
    stems = {process.pid: name.partition(".")[0] for process, name in found.items()}
    return {process: name for process, name in found.items() if stems.get(_parent_of(process)) != stems[process.pid]}


def _parent_of(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def _held_by_another(descriptor: int) -> str:
    """Lock the open lock file; returns "", or the holder if it is taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return ""
    except OSError as error:
        refused = isinstance(error, BlockingIOError)
    # Some cluster file systems have no locks: there the note in the file has to do.
    try:
        note = json.loads(os.pread(descriptor, 1000, 0))
        holder, here = f"process {note['pid']} on {note['host']}", note["host"] == socket.gethostname()
        started = psutil.Process(note["pid"]).create_time() if here else note["start_time"]
        return holder if refused or abs(started - note["start_time"]) < 2 else ""
    except (ValueError, KeyError, TypeError, psutil.Error):
        return "another process" if refused else ""


def oom_kills() -> int:
    """How many processes the kernel's OOM killer has ended in this process's control group; 0 if unknown."""
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return 0
    for _, controllers, group in groups:
        if controllers in ("", "memory"):
            top = Path("/sys/fs/cgroup") / controllers
            file_name = "memory.oom_control" if controllers else "memory.events"
            # In a container the group's path may be the host's, with its files at the top.
            for path in (top / group.lstrip("/") / file_name, top / file_name):
                with suppress(OSError):
                    if count := re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE):
                        return int(count[1])
    return 0


def _state(pid: int) -> tuple[bytes, int]:
    """(state, parent)."""
    # The name, in brackets, may itself contain spaces and brackets: split at the last one.
    state, parent, *_ = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return state, int(parent)


def _environment(place: Path, state: bytes) -> list[bytes]:
    """A process's, which only the threads that outlive the first can still tell."""
    found = (place / "environ").read_bytes() if state != b"Z" else b""
    for thread in (place / "task").iterdir() if state == b"Z" else ():
        with suppress(OSError):
            found += (thread / "environ").read_bytes()
    return found.split(b"\0")


def _with_ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return found


def _handles(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            yield psutil.Process(pid)


def _children() -> list[int]:
    return [process.pid for process in psutil.Process().children()]


def _reaped(pid: int) -> bool:
    with suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False


def _has_ended(process: psutil.Process) -> bool:
    """Whether none of it runs any more; a child is then reaped."""
    if not process.is_running():
        # Its pid may be another child's by now.
        return True
    try:
        return os.waitpid(process.pid, os.WNOHANG)[0] == process.pid
    except ChildProcessError:
        return not is_living(process)


def _memory(process: psutil.Process) -> int:
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
