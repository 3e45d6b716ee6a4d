"""Decides from observations of a run whether it is still worth waiting for. Pure: observations and times are passed in.
verl hangs forever when a worker or an engine dies, so after a death or an error silence is tolerated for less time."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from recipes.watch.heartbeat import Heartbeat

Reason = Literal["finished", "failed", "incomplete", "stalled", "lost_worker", "engine_error", "interrupted"]

EXIT_FAILED = 1
EXIT_STALLED = 124

#: Processes without which verl hangs.
VITAL = re.compile(r"WorkerDict|vllm|EngineCore|^raylet$|^gcs_server$", re.IGNORECASE)
#: Other Ray actors. Ray shows tasks in lower case and idle workers as IDLE, and ends both as it likes.
ACTOR = re.compile(r"^ray::(?!IDLE|DashboardAgent|RuntimeEnvAgent)[A-Z]\w+")
#: Printed by vLLM's end of a failed weight sync, of which the trainer's end is never told.
WEIGHTS_LOST = "new weights did not reach the engine: the exception above says why"
#: Lines after which a run rarely recovers.
FATAL = re.compile(
    r"EngineDeadError|ActorDiedError|RayTaskError|Engine core proc \S+ died|Worker proc \S+ died unexpectedly"
    rf"|{WEIGHTS_LOST}|WorkerProc hit an exception|EngineCore encountered a fatal error|engine core exited unexpectedly"
)


#: A phase that has been seen twice may take this many times as long as the slowest of its kind.
SLOWER = 6.0
#: Share of the stall limit that it may always take, so that --stall_minutes extends every limit.
SHARE = 1 / 15


@dataclass(frozen=True)
class Limits:
    """How long to wait for each event. `startup_minutes` None: the stall limit, but at least 10 minutes."""

    startup_minutes: float | None = None
    vital_death_s: float = 20.0
    error_s: float = 60.0
    shutdown_s: float = 120.0
    pace_s: float = 120.0
    end_grace_s: float = 10.0
    poll_s: float = 0.5
    scan_s: float = 2.0
    memory_s: float = 5.0


EVERY_STEP = ("rollout", "reward", "old_log_prob", "ref_log_prob", "update")
"""Phases that occur in every step of a run or in none."""


@dataclass(frozen=True)
class Verdict:
    """Why a run is over, and its exit code. `dead` names processes that ended too early."""

    reason: Reason
    exit_code: int
    quiet_s: float = 0.0
    dead: tuple[str, ...] = ()


def _stem(title: str) -> str:
    """An actor's title without the method it runs: "ray::WorkerDict" of "ray::WorkerDict.update"."""
    return title.partition(".")[0]


@dataclass
class Signs:
    """What has been seen of a run. Times are in seconds of one clock; `changed` is initially the start time."""

    limits: Limits
    stall_s: float
    changed: float
    beat: Heartbeat | None = None
    longest_quiet_s: float = 0.0
    phase_began: float = 0.0
    first_step: int = 0
    paces: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By phase: how many were seen to complete, and the seconds of the slowest."""

    error_at: float | None = None
    alive: Mapping[Hashable, str] = field(default_factory=dict)
    settled: set[Hashable] = field(default_factory=set)
    deaths: dict[str, float] = field(default_factory=dict)
    death_steps: dict[str, int] = field(default_factory=dict)
    vital_deaths: list[str] = field(default_factory=list)

    def see_heartbeat(self, beat: Heartbeat | None, now: float) -> bool:
        """Record the current heartbeat. True if it shows progress."""
        if beat is None or beat == self.beat:
            return False
        if self.beat:
            self.longest_quiet_s = max(self.longest_quiet_s, now - self.changed)
            if (beat.step, beat.phase) != (self.beat.step, self.beat.phase):
                count, slowest = self.paces.get(self.beat.phase, (0, 0.0))
                self.paces[self.beat.phase] = (count + 1, max(slowest, now - self.phase_began))
                self.phase_began = now
        else:
            self.phase_began, self.first_step = now, beat.step
        self.beat, self.changed = beat, now
        if beat.phase == "failed":
            return False
        self.error_at = None
        # Without its engine a trainer may still reach the next phase and hang there, but cannot finish two more steps.
        self.deaths = {
            who: at for who, at in self.deaths.items() if VITAL.search(who) and beat.step < self.death_steps[who] + 2
        }
        return True

    def see_log(self, lines: Iterable[str], now: float) -> None:
        """Look for errors in new log lines."""
        if self.error_at is None and any(FATAL.search(line) for line in lines):
            self.error_at = now

    def see_processes(self, alive: Mapping[Hashable, str], now: float) -> None:
        """Compare the running processes (any identity -> name) with those seen before."""
        for identity, name in self.alive.items():
            # A child between fork and exec has its parent's title for a moment: seeing both once is not enough.
            gone = identity in self.settled and identity not in alive
            if gone and (VITAL.search(name) or ACTOR.search(name)):
                who = _stem(name)
                self.deaths[who] = now
                self.death_steps[who] = self.beat.step if self.beat else 0
                if VITAL.search(name):
                    self.vital_deaths.append(who)
        # A process with a unique title is no fork of another: its death counts even after a single sighting.
        bearers = Counter(map(_stem, alive.values()))
        self.settled = {who for who, name in alive.items() if who in self.alive or bearers[_stem(name)] == 1}
        self.alive = dict(alive)

    def reason_to_stop(self, now: float) -> Verdict | None:
        """The reason to end a run whose command still runs, if there is one."""
        quiet = now - self.changed
        if self.beat and self.is_over:
            if quiet <= self.limits.shutdown_s:
                return None
            return Verdict("finished", 0) if self.beat.phase == "finished" else Verdict("failed", EXIT_FAILED, quiet)
        vital = {name: at for name, at in self.deaths.items() if VITAL.search(name)}
        # A run may survive an error or a lost helper, and long phases have no heartbeat: wait as long as one has taken.
        patience = max(self.limits.error_s, 1.5 * self.longest_quiet_s)
        overdue = any(now - max(at, self.changed) > self.limits.vital_death_s for at in vital.values())
        if overdue or any(now - at > patience for at in self.deaths.values()):
            return Verdict("lost_worker", EXIT_FAILED, quiet, tuple(vital or self.deaths))
        if self.error_at is not None and now - self.error_at > patience:
            return Verdict("engine_error", EXIT_FAILED, now - self.error_at, tuple(self.vital_deaths))
        if quiet > self._quiet_limit_s():
            return Verdict("stalled", EXIT_STALLED, quiet, tuple(self.vital_deaths))
        return None

    @property
    def is_over(self) -> bool:
        """Whether the trainer has reported that it is done, so that processes may end."""
        return self.beat is not None and self.beat.phase in ("finished", "failed")

    def ended(self, code: int) -> Verdict:
        """The verdict when the command has ended; `code` is negative for a signal."""
        if code != 0:
            return Verdict("failed", code if code > 0 else 128 - code)
        if self.beat and self.beat.phase == "finished":
            return Verdict("finished", 0)
        return Verdict("incomplete", EXIT_FAILED)

    def _quiet_limit_s(self) -> float:
        if self.beat and self.beat.phase != "starting":
            count, slowest = self.paces.get(self.beat.phase, (0, 0.0))
            if count < 2 and self.beat.phase in EVERY_STEP and self.beat.step >= self.first_step + 2:
                # It was too short to be seen: no phase was slower than the longest silence.
                count, slowest = 2, self.longest_quiet_s
            paced = max(self.limits.pace_s, SHARE * self.stall_s, SLOWER * slowest)
            return min(self.stall_s, paced) if count > 1 else self.stall_s
        minutes = self.limits.startup_minutes
        return max(self.stall_s, 600.0) if minutes is None else minutes * 60
