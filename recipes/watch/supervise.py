"""Runs the trainer's process and supervises it: shows progress, detects crashes, stalls and dead workers.
However `supervise` ends, it leaves no process of the run behind and one paragraph that says what happened."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from recipes.common.machine import address_limit
from recipes.common.numbered import counted
from recipes.common.run_dir import RunDir, complete_checkpoints
from recipes.watch.console import Console
from recipes.watch.diagnose import Facts, diagnose, explains, full_disks, position
from recipes.watch.heartbeat import HEARTBEAT, LOG, Heartbeat, LogFollower, read_heartbeat
from recipes.watch.pace import duration
from recipes.watch.processes import (
    adopting_orphans,
    end_leftovers_held,
    end_processes,
    hold_run,
    is_living,
    is_stopped,
    marked_environment,
    memory_of,
    name_of,
    names,
    oom_kills,
    processes_of,
    titles,
)
from recipes.watch.signals import asked_to_stop, name_of_signal
from recipes.watch.signs import EXIT_FAILED, Limits, Reason, Signs, Verdict
from recipes.watch.stacks import main_thread_stack

START_HINT = "starting Ray, FSDP, vLLM (about a minute)"


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `exit_code` is what the front end should exit with, `paragraph` what it should print."""

    exit_code: int
    reason: Reason
    paragraph: str
    seconds: float
    peak_rss_bytes: int


def supervise(
    command: list[str],
    env: Mapping[str, str],
    run_dir: Path,
    *,
    stall_minutes: float,
    total_steps: int,
    title: str,
    start_hint: str = START_HINT,
    limits: Limits | None = None,
    helpers: Path | None = None,
    forked_from: int | None = None,
    go_on: str = "",
) -> Outcome:
    """Run `command` until it ends, or end it when it can no longer succeed.

    `env` is merged into this process's environment. Output is appended to `run_dir/log.txt`, the heartbeat is read from
    `run_dir/progress.json`; `start_hint` is shown until the first one. `peak_rss_bytes` is the peak main memory of all
    processes of the run together, including `forked_from` if they are forked from such a process. `go_on` says how to
    continue a command that has no checkpoints. Nothing is printed at the end: print the outcome's paragraph.

    Raises:
        RunBusyError: another supervisor is using `run_dir`.
        OSError: the command cannot be started.
    """
    with hold_run(run_dir), adopting_orphans() as orphans, asked_to_stop() as asked:
        end_leftovers_held(run_dir)
        # The previous run's heartbeat would be taken for one of this run.
        (run_dir / HEARTBEAT).unlink(missing_ok=True)
        log = LogFollower(run_dir / LOG)
        with (run_dir / LOG).open("ab") as output:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1", **env, **marked_environment(run_dir)}
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        watch = _Watch(
            process, run_dir, log, limits or Limits(), stall_minutes * 60, orphans, asked, helpers, forked_from, go_on
        )
        try:
            with Console(title, total_steps, start_hint) as console:
                verdict = watch.run(console)
            outcome = watch.outcome(verdict, title)
        except BaseException:
            watch.end_all()
            raise
    if asked and outcome.reason == "finished":
        # Too late for this command, not for what follows it.
        signal.raise_signal(asked[0])
    # A caller may continue after a failure, but not after an interruption.
    return replace(outcome, reason="interrupted", exit_code=128 + asked[0]) if asked else outcome


class _Watch:
    """Reports observations to `Signs` and ends processes."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        run_dir: Path,
        log: LogFollower,
        limits: Limits,
        stall_s: float,
        orphans: Callable[[int], set[int]],
        asked: list[int],
        helpers: Path | None,
        forked_from: int | None,
        go_on: str,
    ) -> None:
        self.process, self.run_dir, self.log, self.limits = process, run_dir, log, limits
        self.orphans, self.asked, self.helpers, self.go_on = orphans, asked, helpers, go_on
        self.origin = [psutil.Process(forked_from)] if forked_from and psutil.pid_exists(forked_from) else []
        self.began = time.monotonic()
        self.signs = Signs(limits, stall_s, changed=self.began)
        self.peak_bytes = 0
        self.next_scan = self.next_memory = 0.0
        self.oom_before = oom_kills()
        self.lost_origin, self.origin_ran = False, self.began

    def run(self, console: Console) -> Verdict:
        """Watch until the command ends or there is a reason to end it."""
        while True:
            # Polled before looking, so that the verdict on an end is based on everything before it.
            code, asked = self.process.poll(), self.asked[:1]
            self._look(console)
            if asked:
                return Verdict("interrupted", 128 + asked[0])
            if code is not None:
                return self.signs.ended(code)
            if verdict := self.signs.reason_to_stop(time.monotonic()):
                return verdict
            if self.lost_origin and not self.signs.is_over:
                return Verdict("lost_worker", EXIT_FAILED, dead=("the server of imports",))
            time.sleep(self.limits.poll_s)

    def _look(self, console: Console) -> None:
        now = time.monotonic()
        beat = read_heartbeat(self.run_dir)
        if self.signs.see_heartbeat(beat, now):
            # The reason for a failure is logged after the last progress.
            self.log.mark()
        lines = self.log.new_lines()
        self.signs.see_log(lines, now)
        console.log_lines(lines)
        console.show(beat)
        if now >= self.next_scan:
            # During the start, processes may end soon after they appear: look more often.
            self.next_scan = now + (self.limits.scan_s if beat else self.limits.poll_s)
            members = self.members()
            self.lost_origin = not all(map(is_living, self.origin)) or self._origin_stopped(now)
            if self.helpers and self.signs.beat:
                members += processes_of(self.helpers)
            self.signs.see_processes(titles(members), now)
            if now >= self.next_memory:
                busy = time.thread_time()
                self.peak_bytes = max(self.peak_bytes, memory_of([*members, *self.origin]))
                # Counting the pages of large processes slows them down: spend at most 1/50 of the time on it.
                self.next_memory = now + max(self.limits.memory_s, 50 * (time.thread_time() - busy))

    def _origin_stopped(self, now: float) -> bool:
        """Whether the origin has been suspended for too long: whatever needs a fork would wait for it."""
        if not any(map(is_stopped, self.origin)):
            self.origin_ran = now
        return now - self.origin_ran > self.limits.vital_death_s

    def members(self) -> list[psutil.Process]:
        """The running processes of the run."""
        pid = self.process.pid
        # Once it has been waited for, its pid may be reused.
        main = {pid} if self.process.poll() is None else set()
        return processes_of(self.run_dir, main | self.orphans(pid))

    def outcome(self, verdict: Verdict, title: str) -> Outcome:
        """End the run's processes and describe what happened."""
        beat = self.signs.beat
        hung = verdict.reason in ("stalled", "engine_error")
        stack = self._stack(beat) if hung else []
        stopped = [name_of(each) for each in self.members() if is_stopped(each)] if hung else []
        code = self.process.poll()
        # Before its processes end, which frees disk space.
        full = full_disks([self.run_dir, Path(tempfile.gettempdir())])
        stuck = self.end_all()
        self.log.new_lines()
        seconds = time.monotonic() - self.began
        match verdict.reason:
            case "finished":
                steps, peak = beat.step if beat else 0, self.peak_bytes / 2**30
                text = f"{title} finished {counted(steps, 'step')} in {duration(seconds)}; peak memory {peak:.1f} GiB."
                if code is None:
                    text += " Its processes did not end by themselves and were ended."
            case "interrupted":
                how = name_of_signal(verdict.exit_code - 128)
                text = f"{title} was stopped by {how} {position(beat)}."
                text += "" if stuck else " All of its processes have ended."
            case reason:
                facts = Facts(
                    title=title,
                    reason=reason,
                    log=self.run_dir / LOG,
                    exit_code=code,
                    heartbeat=beat,
                    quiet_s=verdict.quiet_s,
                    dead=verdict.dead,
                    gone=self.signs.vital_deaths,
                    stack=stack,
                    stopped=stopped,
                    oom_kills=oom_kills() - self.oom_before,
                    addresses=address_limit(),
                    full=full,
                )
                text = self._without_origin(title) or diagnose(self._telling_log(code), facts)
        if verdict.reason != "finished":
            text += f" {self._how_to_go_on()}"
        if stuck:
            text += f" These processes could not be ended, end them by hand: {names(stuck)}."
        return Outcome(verdict.exit_code, verdict.reason, text, seconds, self.peak_bytes)

    def _without_origin(self, title: str) -> str:
        """The diagnosis if the process is gone that the run's others were forked from: all else follows from that."""
        gone = [each for each in self.origin if not is_living(each)]
        if not gone and not self.lost_origin:
            return ""
        how = "It was killed, by hand or by the kernel because memory ran out (dmesg)."
        return (
            f"{title} lost the process that all others are forked from (pid {self.origin[0].pid}, "
            f"recipes.verl_plugin.warm), {position(self.signs.beat)}. {how if gone else 'SIGSTOP suspended it.'}"
        )

    def _telling_log(self, code: int | None) -> str:
        recent = self.log.since_mark
        killed = code is not None and (code < 0 or code > 128)
        return recent if killed or explains(recent) else self.log.tail

    def _stack(self, beat: Heartbeat | None) -> list[str]:
        members = {process.pid for process in self.members()}
        pid = beat.pid if beat and beat.pid in members else self.process.pid
        return main_thread_stack(pid, self.log, faulthandler=bool(beat and beat.faulthandler))

    def _how_to_go_on(self) -> str:
        if self.go_on:
            return self.go_on
        saved = complete_checkpoints(RunDir(self.run_dir).checkpoints)
        if saved:
            return f"The same command with --resume continues from the checkpoint of step {saved[-1][0]}."
        return "There is no checkpoint yet: the same command with --resume starts from the beginning."

    def end_all(self) -> list[psutil.Process]:
        """End the trainer first, so that Ray ends its own processes; then the rest. Returns what cannot be ended."""
        grace = self.limits.end_grace_s
        if self.process.poll() is None:
            self.process.terminate()
        self._wait(grace, lambda: self.process.poll() is not None)
        if self.process.poll() is not None:
            self._wait(grace / 2, lambda: not self.members())
        # Processes that are being ended may still start others.
        for _ in range(3):
            if not (left := self.members()):
                break
            end_processes(left, grace / 2, self._hurry)
        return self.members()

    def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and not done() and not self._hurry():
            time.sleep(0.1)

    def _hurry(self) -> bool:
        """Whether a second signal has asked to stop."""
        return len(self.asked) > 1
