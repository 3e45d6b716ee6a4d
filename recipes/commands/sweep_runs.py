"""A sweep's runs as separate processes, some at a time, with their states in sweep.json. A failed run does not stop
the others. Stopping or killing a sweep also stops its runs, which can be resumed later."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from eval.report import report
from eval.reporting.cells import Table, markdown
from eval.reporting.groups import panels
from eval.reporting.read_runs import find_runs
from eval.reporting.tables import comma_separated, result_rows, results_table
from recipes.commands.planned import Planned
from recipes.common.machine import cores
from recipes.common.run_dir import read_json, write_json, write_text
from recipes.run.run_stage import shared_imports
from recipes.verl_plugin.serve import serving
from recipes.verl_plugin.serve_client import SERVE
from recipes.watch.pace import duration
from recipes.watch.processes import RunBusyError, hold_run
from recipes.watch.scratch import short_folder
from recipes.watch.signals import asked_to_stop

STATE, SUMMARY, CSV, REPORT, LOGS = "sweep.json", "summary.md", "summary.csv", "report", "logs"
METRICS = "metrics.jsonl"

_POLL_S = 0.5
_ENDING_S = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass
class Entry:
    """A run in sweep.json."""

    state: str
    """not started, unfinished, running, finished or failed."""
    command: list[str]
    reason: str = ""
    """Why it failed: its last line of output."""
    exit_code: int | None = None
    seconds: float = 0.0
    """Time spent on it by this sweep, over all starts."""


@dataclass
class _Running:
    planned: Planned
    place: int
    process: subprocess.Popen[bytes]
    log: Path
    read: int
    """Bytes of the log that have been printed."""
    began: float = field(default_factory=time.monotonic)
    last_line: str = ""


def carry_out(
    plan: Sequence[Planned], folder: Path, *, shares: Sequence[list[str] | None], program: Sequence[str]
) -> int:
    """Make every unfinished run, as many at a time as there are shares of devices.

    Args:
        shares: CUDA_VISIBLE_DEVICES of each slot; None leaves the environment unchanged.
        program: command to start with a run's flags.

    Returns:
        0 if all runs finished, 1 if one failed, 128 + the signal if stopped.

    Raises:
        RunBusyError: if another process is running this sweep.
    """
    with hold_run(folder), asked_to_stop() as asked, _one_start(plan, len(shares)):
        entries = _opened(folder, plan)
        waiting = [each for each in plan if entries[each.name].state != "finished"]
        for left in waiting:
            _let_end(left.folder)
        shares = shares[: max(1, len(waiting))]
        _say(f"sweep {folder}: {len(plan)} runs, {len(plan) - len(waiting)} finished, {len(shares)} at a time")
        running: list[_Running] = []
        free = list(range(len(shares)))
        told, tried = 0, set[str]()
        try:
            while running or (waiting and not asked):
                while waiting and free and not asked:
                    planned, place = waiting.pop(0), free.pop(0)
                    running.append(_begin(planned, place, _environment(planned, shares, place), folder, program))
                    entries[planned.name].state = "running"
                    _write(folder, entries)
                if len(asked) > told:
                    told = len(asked)
                    for each in running:
                        each.process.send_signal(asked[-1])
                time.sleep(_POLL_S)
                for each in list(running):
                    code = each.process.poll()
                    _show(each)
                    if code is not None:
                        running.remove(each)
                        free.append(each.place)
                        _ended(each, code, entries[each.planned.name], stopped=bool(asked))
                        if _worth_another_try(each, code, tried) and not asked:
                            tried.add(each.planned.name)
                            waiting.append(each.planned)
                        _write(folder, entries)
                        summarise(folder, entries)
        finally:
            for each in running:
                each.process.terminate()
        print(f"\n{summarise(folder, entries)}\n{_drawn(folder)}", flush=True)
        if asked:
            print("stopped; repeat the same command to continue", flush=True)
            return 128 + asked[0]
        return int(any(entries[each.name].state != "finished" for each in plan))


@contextmanager
def _one_start(plan: Sequence[Planned], at_a_time: int) -> Iterator[None]:
    """Import torch and vLLM once for all runs on the CPU; sequential runs also share one server.

    No server if a run has stages other than reinforcement, which would have to share memory with it.
    """
    if len(plan) < 2 or any(each.experiment.device != "cpu" for each in plan):
        yield
        return
    with short_folder() as scratch, ExitStack() as servers:
        servers.enter_context(shared_imports("cpu"))
        if at_a_time == 1 and all(each.experiment.stages == ("rl",) for each in plan):
            os.environ[SERVE] = str(servers.enter_context(serving(scratch)))
            servers.callback(os.environ.pop, SERVE)
        yield


def _environment(planned: Planned, shares: Sequence[list[str] | None], place: int) -> dict[str, str]:
    """What a run's share of the machine adds to its environment: its devices, or its threads on the CPU, where runs
    that each use all cores would wait for each other's threads, many times as long as they compute."""
    if (devices := shares[place]) is not None:
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices[: planned.experiment.n_gpu])}
    if len(shares) > 1 and planned.experiment.device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        return {"OMP_NUM_THREADS": str(max(1, cores() // len(shares)))}
    return {}


def _begin(planned: Planned, place: int, share: Mapping[str, str], folder: Path, program: Sequence[str]) -> _Running:
    resume = planned.state == "unfinished"
    log = folder / LOGS / f"{planned.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    where = f" on devices {share['CUDA_VISIBLE_DEVICES']}" if "CUDA_VISIBLE_DEVICES" in share else ""
    _say(f"[{planned.name}] {'resumes' if resume else 'starts'}{where}")
    with log.open("ab") as output:
        at = output.tell()
        process = subprocess.Popen(
            [*program, *planned.arguments(resume=resume)],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **share},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_the_sweep,
        )
    return _Running(planned, place, process, log, at)


def _let_end(run: Path) -> None:
    """Wait for a run left ending by a killed sweep; if it is still there afterwards, starting it reports that."""
    limit = time.monotonic() + _ENDING_S
    while run.exists() and time.monotonic() < limit:
        with suppress(RunBusyError), hold_run(run):
            return
        time.sleep(_POLL_S)


def _end_with_the_sweep() -> None:
    """In the new process: receive SIGTERM when the sweep is killed, so that nothing keeps computing unseen."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _show(each: _Running) -> None:
    """Print the run's new output, each line prefixed with its name."""
    with each.log.open("rb") as file:
        file.seek(each.read)
        new = file.read()
    complete = new[: new.rfind(b"\n") + 1]
    each.read += len(complete)
    for line in complete.decode("utf-8", "replace").splitlines():
        if line.strip():
            each.last_line = line.strip()
            _say(f"[{each.planned.name}] {line.rstrip()}")


def _ended(each: _Running, code: int, entry: Entry, *, stopped: bool) -> None:
    """Record how a run ended."""
    seconds = time.monotonic() - each.began
    entry.seconds = round(entry.seconds + seconds, 1)
    entry.exit_code, entry.reason = code, ""
    if code == 0 and each.planned.state == "finished":
        entry.state = "finished"
    elif stopped:
        entry.state = each.planned.state
    else:
        entry.state, entry.reason = "failed", each.last_line or f"exit code {code}, without output"
    _say(f"[{each.planned.name}] {entry.state} after {duration(seconds)}")


def _worth_another_try(each: _Running, code: int, tried: set[str]) -> bool:
    """Whether to retry, once, a run that failed before its first step, as when a busy machine starts Ray too slowly."""
    # 2: refused, and would be again.
    again = code not in (0, 2) and each.planned.name not in tried and not any(each.planned.folder.rglob(METRICS))
    if again:
        _say(f"[{each.planned.name}] failed before its first step; it will be retried once after the others")
    return again


def _opened(folder: Path, plan: Sequence[Planned]) -> dict[str, Entry]:
    """Known states of the plan's runs and of those that an earlier call planned in the same folder."""
    entries = {name: Entry(**entry) for name, entry in read_json(folder / STATE).get("runs", {}).items()}
    for entry in entries.values():
        # Its sweep was killed.
        if entry.state == "running":
            entry.state = "unfinished"
    for each in plan:
        before = entries.get(each.name)
        spent = before.seconds if before else 0.0
        entries[each.name] = Entry(each.state, each.arguments(), seconds=spent)
    _write(folder, entries)
    return entries


def _write(folder: Path, entries: Mapping[str, Entry]) -> None:
    write_json(folder / STATE, {"time": time.time(), "runs": {name: asdict(entry) for name, entry in entries.items()}})


def summarise(folder: Path, entries: Mapping[str, Entry]) -> str:
    """Write summary.md and summary.csv for all runs in the folder, finished or not; returns the tables as Markdown."""
    rows = result_rows(panels(find_runs([folder])[0]))
    runs = [
        (name, entry.state, duration(entry.seconds) if entry.seconds else "", entry.reason)
        for name, entry in entries.items()
    ]
    parts = [markdown(results_table(rows)) + f"\n\n{_READING}"] if rows else []
    parts.append(markdown(Table(("run", "state", "time", "reason"), tuple(runs))))
    text = "\n\n".join(parts)
    write_text(folder / SUMMARY, f"# {folder.name}\n\n{text}\n")
    write_text(folder / CSV, comma_separated(rows))
    return text


_READING = (
    "before, last: validation accuracy (--val_samples), mean over seeds (lowest to highest); 95 %: over seeds "
    "(Student's t, df degrees of freedom) and problems; minutes: mean."
)


def _drawn(folder: Path) -> str:
    """Write the report of all runs so far; returns the paths of all results."""
    found = f"{folder / SUMMARY}, {folder / CSV}, {folder / STATE}"
    try:
        report([folder], folder / REPORT, folder.name)
    except FileNotFoundError:
        return found
    return f"{found}\n{folder / REPORT / 'index.html'}"


def _say(line: str) -> None:
    print(line, flush=True)
