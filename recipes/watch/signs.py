"""Judges from what is seen of a run whether it is still worth waiting for. Pure: it is told what is seen, and when.
verl hangs for good when a worker or an engine dies, so silence after a death or an error counts sooner than silence."""

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
#: Other Ray actors. Ray shows a task or an idle worker in lower case or as IDLE, and ends those as it likes.
ACTOR = re.compile(r"^ray::(?!IDLE|DashboardAgent|RuntimeEnvAgent)[A-Z]\w+")
#: Printed by vLLM's end of a weight sync that failed; the trainer's end never hears of it.
WEIGHTS_LOST = "new weights did not reach the engine: the exception above says why"
#: Lines after which a run seldom goes on.
FATAL = re.compile(
    r"EngineDeadError|ActorDiedError|RayTaskError|Engine core proc \S+ died|Worker proc \S+ died unexpectedly"
    rf"|{WEIGHTS_LOST}|WorkerProc hit an exception|EngineCore encountered a fatal error|engine core exited unexpectedly"
)


#: A phase that has been seen twice may take so many times as long as the slowest of its kind.
SLOWER = 6.0
#: Part of the stall limit that it may take in any case, so that --stall_minutes allows more of everything.
SHARE = 1 / 15


@dataclass(frozen=True)
class Limits:
    """How long to wait for what. `startup_minutes` None: the stall limit, but no less than 10 minutes."""

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
"""Phases that come in every step, where they come at all."""


@dataclass(frozen=True)
class Verdict:
    """Why a run is over, and the exit code that says so. `dead` names processes that ended before their time."""

    reason: Reason
    exit_code: int
    quiet_s: float = 0.0
    dead: tuple[str, ...] = ()


def _stem(title: str) -> str:
    """The title of an actor without the method it runs: "ray::WorkerDict.update"."""
    return title.partition(".")[0]


@dataclass
class Signs:
    """What has been seen of a run. Times are seconds of one clock; `changed` begins as the time of the start."""

    limits: Limits
    stall_s: float
    changed: float
    beat: Heartbeat | None = None
    longest_quiet_s: float = 0.0
    phase_began: float = 0.0
    first_step: int = 0
    paces: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How often each phase was seen to its end, and the seconds of the slowest."""

    error_at: float | None = None
    alive: Mapping[Hashable, str] = field(default_factory=dict)
    settled: set[Hashable] = field(default_factory=set)
    deaths: dict[str, float] = field(default_factory=dict)
    death_steps: dict[str, int] = field(default_factory=dict)
    vital_deaths: list[str] = field(default_factory=list)

    def see_heartbeat(self, beat: Heartbeat | None, now: float) -> bool:
        """Take note of the present heartbeat. True if it shows that the run has gone on."""
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
        # Without its engine a trainer may still reach the next phase, and hang there; a second step it cannot.
        self.deaths = {
            who: at for who, at in self.deaths.items() if VITAL.search(who) and beat.step < self.death_steps[who] + 2
        }
        return True

    def see_log(self, lines: Iterable[str], now: float) -> None:
        """Look for errors in new lines of the log."""
        if self.error_at is None and any(FATAL.search(line) for line in lines):
            self.error_at = now

    def see_processes(self, alive: Mapping[Hashable, str], now: float) -> None:
        """Compare the living processes (any identity -> name) with those seen before."""
        for identity, name in self.alive.items():
            # A child between fork and exec carries its parent's title for a moment: one look at both is not enough.
            gone = identity in self.settled and identity not in alive
            if gone and (VITAL.search(name) or ACTOR.search(name)):
                who = _stem(name)
                self.deaths[who] = now
                self.death_steps[who] = self.beat.step if self.beat else 0
                if VITAL.search(name):
                    self.vital_deaths.append(who)
        # The only one of its title is no fork of another: it may die before the next look, and is missed.
        bearers = Counter(map(_stem, alive.values()))
        self.settled = {who for who, name in alive.items() if who in self.alive or bearers[_stem(name)] == 1}
        self.alive = dict(alive)

    def reason_to_stop(self, now: float) -> Verdict | None:
        """The reason to end a run whose command still lives, if there is one."""
        quiet = now - self.changed
        if self.beat and self.is_over:
            if quiet <= self.limits.shutdown_s:
                return None
            return Verdict("finished", 0) if self.beat.phase == "finished" else Verdict("failed", EXIT_FAILED, quiet)
        vital = {name: at for name, at in self.deaths.items() if VITAL.search(name)}
        # An error or a lost helper may be survived, and a long phase has no heartbeat: wait as long as one took before.
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
        """Whether the trainer has said that it is done, so that nothing that ends now is missed."""
        return self.beat is not None and self.beat.phase in ("finished", "failed")

    def ended(self, code: int) -> Verdict:
        """What the end of the command means; `code` is negative for a signal."""
        if code != 0:
            return Verdict("failed", code if code > 0 else 128 - code)
        if self.beat and self.beat.phase == "finished":
            return Verdict("finished", 0)
        return Verdict("incomplete", EXIT_FAILED)

    def _quiet_limit_s(self) -> float:
        if self.beat and self.beat.phase != "starting":
            count, slowest = self.paces.get(self.beat.phase, (0, 0.0))
            if count < 2 and self.beat.phase in EVERY_STEP and self.beat.step >= self.first_step + 2:
                # It was over before anybody looked: no phase was slower than the longest silence.
                count, slowest = 2, self.longest_quiet_s
            paced = max(self.limits.pace_s, SHARE * self.stall_s, SLOWER * slowest)
            return min(self.stall_s, paced) if count > 1 else self.stall_s
        minutes = self.limits.startup_minutes
        return max(self.stall_s, 600.0) if minutes is None else minutes * 60
