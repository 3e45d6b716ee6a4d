"""What a person sees while a run goes on: one refreshed line on a terminal, plain lines elsewhere (CI, a file).
Knows heartbeats and times, nothing of processes."""

import re
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from recipes.watch.heartbeat import NOTICE, PHASES, Heartbeat

#: Step durations the remaining time is estimated from.
ETA_STEPS = 20
#: Metrics shown in a line.
SHOWN_METRICS = 3
#: Seconds between two plain lines for finished steps.
PLAIN_INTERVAL_S = 5.0

# What a start prints, in the order in which it does, with what then follows. A version that words it otherwise only
# leaves the person with less to read.
MILESTONES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"Started a local Ray instance|Connected to Ray cluster", "Ray is up, reading the data"),
        (r"dataloader initialized|Total training steps", "data is read, starting the training workers"),
        (r"Before FSDP|After FSDP", "building the model (FSDP)"),
        (r"model engine initialized", "model is built, starting vLLM"),
        (r"vLLMHttpServer pid=|Initializing a V1 LLM engine", "starting vLLM"),
        (r"Starting to load model|Loading weights took|Capturing CUDA graph", "vLLM loads the model"),
        (r"LLMServerManager|ready to fit", "all is up, about to train"),
    )
)


def milestone(line: str, so_far: int) -> int:
    """The number of the milestone that a line of the log reports, if it lies beyond `so_far` (-1: none yet)."""
    found = (number for number in range(len(MILESTONES) - 1, so_far, -1) if MILESTONES[number][0].search(line))
    return next(found, so_far)


def duration(seconds: float) -> str:
    """A length of time for people: "8 s", "4 min 10 s", "3 h 05 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def metrics_text(metrics: Mapping[str, float], only: str = "") -> str:
    """The first few metrics as "val/acc 0.412, train/loss 1.3"; `only` keeps those whose name begins with it."""
    chosen = [(name, value) for name, value in metrics.items() if name.startswith(only)][:SHOWN_METRICS]
    return ", ".join(f"{name} {value:.4g}" for name, value in chosen)


class Pace:
    """How long steps take, from the heartbeats' own clock."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._seconds: deque[float] = deque(maxlen=ETA_STEPS)

    def add(self, beat: Heartbeat) -> None:
        """Take note of a heartbeat; several steps between two of them share the time evenly."""
        if self._last and beat.step > self._last[0]:
            steps = beat.step - self._last[0]
            self._seconds.extend([(beat.time - self._last[1]) / steps] * min(steps, ETA_STEPS))
        if not self._last or beat.step != self._last[0]:
            self._last = (beat.step, beat.time)

    @property
    def step_seconds(self) -> float | None:
        """The median duration of recent steps, None before the first is known."""
        return statistics.median(self._seconds) if self._seconds else None

    def remaining(self, beat: Heartbeat) -> float | None:
        """Estimated seconds to the last step."""
        median = self.step_seconds
        return None if median is None else median * max(0, beat.total_steps - beat.step)


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
        self._validated = (-1, "")

    def __enter__(self) -> "Console":
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            with self._reader_may_leave():
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
            with self._reader_may_leave():
                self._live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        with self._reader_may_leave():
            self._console.print(Text(text), soft_wrap=True)

    @contextmanager
    def _reader_may_leave(self) -> Iterator[None]:
        """A closed terminal or pipe (rich answers it with SystemExit) ends the display, not the run."""
        try:
            yield
        except (OSError, SystemExit):
            self._console.quiet = True

    def log_lines(self, lines: list[str]) -> None:
        """Look for milestones of the start, and for notices, in new lines of the log."""
        if self._beat is not None and self._beat.phase != "starting":
            return
        before = self._milestone
        for line in lines:
            self._milestone = milestone(line, self._milestone)
            if NOTICE in line:
                self.say(f"  note: {line.partition(NOTICE)[2].strip()}")
        if self._milestone > before and not self._live:
            self.say(f"  {duration(time.monotonic() - self._began)}: {MILESTONES[self._milestone][1]}")

    def show(self, beat: Heartbeat | None) -> None:
        """Bring the display up to date."""
        previous, self._beat = self._beat, beat or self._beat
        if beat and beat != previous:
            self._pace.add(beat)
            self._validation(previous, beat)
            if not self._live:
                self._plain(beat)
        if self._live:
            with self._reader_may_leave():
                self._live.update(self._line(), refresh=True)

    def _plain(self, beat: Heartbeat) -> None:
        first = self._plain_step < 0
        if first:
            self._plain_step = beat.step
        last = beat.step >= beat.total_steps
        if beat.step > self._plain_step and (last or time.monotonic() - self._plain_at >= PLAIN_INTERVAL_S):
            self._plain_step, self._plain_at = beat.step, time.monotonic()
            parts = [f"step {beat.step}/{beat.total_steps}", metrics_text(beat.metrics), self._pace_text(beat)]
            self.say("  " + "  ".join(part for part in parts if part))

    def _validation(self, previous: Heartbeat | None, beat: Heartbeat) -> None:
        if previous is None:
            return
        text = metrics_text(beat.metrics, only="val")
        ended = previous.phase == "validating" and beat.phase != "validating"
        changed = text != metrics_text(previous.metrics, only="val")
        if text and (ended or changed) and self._validated != (beat.step, text):
            self._validated = (beat.step, text)
            self.say(f"  step {beat.step}: validation: {text}")

    def _pace_text(self, beat: Heartbeat) -> str:
        seconds, remaining = self._pace.step_seconds, self._pace.remaining(beat)
        if seconds is None or not remaining:
            return ""
        return f"{seconds:.1f} s/step, {duration(remaining)} left"

    def _line(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        beat = self._beat
        if beat is None or (beat.phase == "starting" and beat.step == 0):
            doing = MILESTONES[self._milestone][1] if self._milestone >= 0 else self._start_hint
            elapsed = duration(time.monotonic() - self._began)
            cells: list[RenderableType] = [
                self._spinner,
                Text(self._title, style="bold"),
                Text(f"{doing} ... {elapsed}"),
            ]
        else:
            total = beat.total_steps or self._total
            cells = [Text(self._title, style="bold"), ProgressBar(total=max(1, total), completed=beat.step, width=20)]
            texts = [(f"{beat.step}/{total}", "cyan"), (PHASES.get(beat.phase, beat.phase), "")]
            texts += [(self._pace_text(beat), "magenta"), (metrics_text(beat.metrics), "green")]
            cells += [Text(text, style=style) for text, style in texts if text]
        for cell in cells:
            grid.add_column(no_wrap=True, overflow="ellipsis", width=20 if isinstance(cell, ProgressBar) else None)
        grid.add_row(*cells)
        return grid
