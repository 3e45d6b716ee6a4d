"""A run's progress display: one refreshed line on a terminal, plain lines elsewhere (CI, a file).
Knows heartbeats and times, not processes."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from recipes.watch.heartbeat import NOTICE, PHASES, Heartbeat
from recipes.watch.pace import Pace, duration
from recipes.watch.shown import counted, of_step, of_validation

#: Seconds between two plain lines for finished steps.
PLAIN_INTERVAL_S = 5.0

# What a start prints, in order, and what follows it. If another version words a line differently, only that line of
# the display is lost.
MILESTONES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"Started a local Ray instance|Connected to Ray cluster", "Ray is up, reading the data"),
        (r"dataloader initialized|Total training steps", "data is loaded, starting the training workers"),
        (r"Before FSDP|After FSDP", "building the model (FSDP)"),
        (r"model engine initialized", "model is built, starting vLLM"),
        (r"vLLMHttpServer pid=|Initializing a V1 LLM engine", "starting vLLM"),
        (r"Starting to load model|Loading weights took|Capturing CUDA graph", "vLLM loads the model"),
        (r"LLMServerManager|ready to fit", "everything is up, training begins"),
    )
)


def milestone(line: str, so_far: int) -> int:
    """The index of the milestone that a log line reports if it is beyond `so_far` (-1: none yet), else `so_far`."""
    found = (number for number in range(len(MILESTONES) - 1, so_far, -1) if MILESTONES[number][0].search(line))
    return next(found, so_far)


class Console:
    """Shows a run's progress. Use as a context manager; call `show` at every poll and `say` for a line that stays."""

    def __init__(self, title: str, total_steps: int, start_hint: str, rich_console: RichConsole | None = None) -> None:
        self._title, self._total, self._start_hint = title, total_steps, start_hint
        self._console = rich_console or RichConsole(highlight=False)
        self._live: Live | None = None
        self._began = time.monotonic()
        self._pace = Pace()
        self._beat: Heartbeat | None = None
        self._milestone = -1
        self._spinner = Spinner("dots")
        self._plain_step, self._plain_at = -1, float("-inf")

    def __enter__(self) -> "Console":
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            with self._output_may_close():
                live = Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                live.start()
                self._live = live
        else:
            self.say(f"{self._title}: {self._start_hint}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            with self._output_may_close():
                self._live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        with self._output_may_close():
            self._console.print(Text(text), soft_wrap=True)

    @contextmanager
    def _output_may_close(self) -> Iterator[None]:
        """A closed terminal or pipe (rich raises SystemExit for it) ends the display, not the run."""
        try:
            yield
        except (OSError, SystemExit):
            self._console.quiet = True

    def log_lines(self, lines: list[str]) -> None:
        """Look for notices and start-up milestones in new log lines."""
        for line in lines:
            if NOTICE in line:
                self.say(f"  note: {line.partition(NOTICE)[2].strip()}")
        if self._beat is not None and self._beat.phase != "starting":
            return
        before = self._milestone
        for line in lines:
            self._milestone = milestone(line, self._milestone)
        if self._milestone > before and not self._live:
            self.say(f"  {duration(time.monotonic() - self._began)}: {MILESTONES[self._milestone][1]}")

    def show(self, beat: Heartbeat | None) -> None:
        """Update the display."""
        previous, self._beat = self._beat, beat or self._beat
        if beat and beat != previous:
            self._pace.add(beat)
            self._validation(previous, beat)
            if not self._live:
                self._plain(beat)
        if self._live:
            with self._output_may_close():
                self._live.update(self._line(), refresh=True)

    def _plain(self, beat: Heartbeat) -> None:
        first = self._plain_step < 0
        if first:
            self._plain_step = beat.step
        last = beat.step >= beat.total_steps
        due = time.monotonic() - self._plain_at >= PLAIN_INTERVAL_S
        if counted(beat.metrics):
            if due:
                self._plain_at = time.monotonic()
                self.say("  " + "  ".join(part for part in (*of_step(beat.metrics), self._pace_text(beat)) if part))
            return
        if beat.total_steps == 1 and not of_step(beat.metrics):
            return  # an evaluation, whose result is printed already
        if beat.step > self._plain_step and (last or due):
            self._plain_step, self._plain_at = beat.step, time.monotonic()
            step = f"step {beat.step}/{beat.total_steps}"
            shown = [step, self._pace_text(beat), ", ".join([*of_step(beat.metrics), *of_validation(beat.metrics)])]
            self.say("  " + "  ".join(part for part in shown if part))

    def _validation(self, previous: Heartbeat | None, beat: Heartbeat) -> None:
        if previous is None:
            return
        text = ", ".join(of_validation(beat.metrics))
        if text and text != ", ".join(of_validation(previous.metrics)):
            self.say(f"  validation: {text}")

    def _pace_text(self, beat: Heartbeat) -> str:
        if (left := self._pace.counted_left(beat)) is not None:
            return f"{duration(left)} left"
        seconds, remaining = self._pace.step_seconds, self._pace.remaining(beat)
        if seconds is None or beat.step >= beat.total_steps:
            return ""
        return f"{seconds:.1f} s/step" + ("" if remaining is None else f", {duration(remaining)} left")

    def _line(self) -> Table:
        beat = self._beat
        if beat is None or (beat.phase == "starting" and beat.step == 0):
            activity = MILESTONES[self._milestone][1] if self._milestone >= 0 else self._start_hint
            elapsed = duration(time.monotonic() - self._began)
            return _row([self._spinner, Text(self._title, style="bold"), Text(f"{activity} ... {elapsed}")])
        done, total = counted(beat.metrics) or (beat.step, beat.total_steps or self._total)
        parts = [
            Part(Text(self._title, style="bold"), 5),
            Part(ProgressBar(total=max(1, total), completed=done, width=BAR), 6, BAR),
            Part(Text(f"{done:.0f}/{total:.0f}", style="cyan"), 0),
            Part(Text(PHASES.get(beat.phase, beat.phase)), 4),
            Part(Text(self._pace_text(beat), style="magenta"), 1),
            *(Part(Text(text, style="green"), 2) for text in of_step(beat.metrics)),
            *(Part(Text(text, style="green"), 3) for text in of_validation(beat.metrics)),
        ]
        return _row([part.shown for part in fitting(parts, self._console.width)])


BAR = 20


@dataclass(frozen=True)
class Part:
    """A piece of the refreshed line; if two do not both fit, the one with the higher rank is dropped."""

    shown: Text | ProgressBar
    rank: int
    width: int = 0

    @property
    def columns(self) -> int:
        return self.width or (self.shown.cell_len if isinstance(self.shown, Text) else 0)


def fitting(parts: list[Part], width: int) -> list[Part]:
    """The parts that fit into `width` columns, separated by spaces, in their order."""
    kept: set[int] = set()
    left = width
    for at in sorted(range(len(parts)), key=lambda at: (parts[at].rank, at)):
        needed = parts[at].columns + bool(kept)
        if parts[at].columns and needed <= left:
            kept.add(at)
            left -= needed
    return [parts[at] for at in sorted(kept)]


def _row(cells: list[RenderableType]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for cell in cells:
        grid.add_column(no_wrap=True, overflow="ellipsis", width=BAR if isinstance(cell, ProgressBar) else None)
    grid.add_row(*cells)
    return grid
