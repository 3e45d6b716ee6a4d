"""The console: what a person reads on a terminal and what a CI log holds."""

import errno
import io
from collections.abc import Iterable

import pytest
from rich.console import Console as RichConsole

from recipes.watch.console import MILESTONES, Console, Pace, duration, metrics_text, milestone
from recipes.watch.heartbeat import NOTICE, Heartbeat

ESCAPE = "\x1b["


def beats(phases: Iterable[str], seconds: float = 2.0, total: int = 9) -> list[Heartbeat]:
    return [
        Heartbeat(step, total, phase, 100.0 + seconds * step, {"val/acc": step // 4 / 10, "train/loss": 1 / (step + 1)})
        for step, phase in enumerate(phases)
    ]


def shown(states: Iterable[Heartbeat], *, terminal: bool, lines: Iterable[str] = ()) -> str:
    screen = io.StringIO()
    rich_console = RichConsole(file=screen, force_terminal=terminal, width=160, highlight=False)
    with Console("uft on countdown", 9, "starting Ray", rich_console) as console:
        console.show(None)
        console.log_lines(list(lines))
        console.show(None)
        for state in states:
            console.show(state)
    return screen.getvalue()


def test_a_ci_log_gets_plain_lines_for_the_start_steps_and_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.watch.console.PLAIN_INTERVAL_S", 0.0)
    states = beats(["rollout", "update", "update", "validating", "update"])
    text = shown(states, terminal=False, lines=["x", "INFO -- Started a local Ray instance."])
    assert text.splitlines() == [
        "uft on countdown: starting Ray",
        "  0 s: Ray is up, reading the data",
        "  step 1/9  val/acc 0, train/loss 0.5  2.0 s/step, 16 s left",
        "  step 2/9  val/acc 0, train/loss 0.3333  2.0 s/step, 14 s left",
        "  step 3/9  val/acc 0, train/loss 0.25  2.0 s/step, 12 s left",
        "  step 4: validation: val/acc 0.1",
        "  step 4/9  val/acc 0.1, train/loss 0.2  2.0 s/step, 10 s left",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_notice_of_the_trainer_is_shown_while_it_starts(terminal: bool) -> None:
    lines = ["x", f"(TaskRunner pid=7) {NOTICE}12 of 4096 training problems are left out"]
    assert "note: 12 of 4096 training problems are left out" in shown([], terminal=terminal, lines=lines)


def test_a_fast_run_does_not_flood_a_ci_log_but_shows_its_last_step() -> None:
    text = shown(beats(["update"] * 10), terminal=False)
    assert [line for line in text.splitlines() if "/9" in line] == [
        "  step 1/9  val/acc 0, train/loss 0.5  2.0 s/step, 16 s left",
        "  step 9/9  val/acc 0.2, train/loss 0.1",
    ]


def test_a_terminal_gets_one_line_that_refreshes_itself() -> None:
    text = shown(beats(["update"] * 4), terminal=True, lines=["create: After FSDP, memory"])
    assert "starting Ray" in text
    assert "building the model (FSDP) ..." in text
    assert "3/9" in text
    assert "updating the policy" in text
    assert ESCAPE + "2K" in text
    assert ESCAPE + "36m" in text


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ESCAPE not in shown(beats(["update"] * 4), terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert ESCAPE + "36m" not in shown(beats(["update"] * 4), terminal=True)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_reader_who_leaves_does_not_end_the_run(terminal: bool) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "the terminal is gone")

    console = Console("uft", 9, "starting", RichConsole(file=Closed(), force_terminal=terminal))
    with console:
        for state in beats(["update"] * 4):
            console.show(state)
        console.say("still here")


def test_a_resumed_run_does_not_report_the_old_validation_again() -> None:
    assert "validation" not in shown(beats(["update"] * 6)[5:], terminal=False)


def test_the_pace_is_the_median_so_that_one_slow_step_does_not_spoil_it() -> None:
    pace = Pace()
    for step, at in enumerate([0.0, 300.0, 302.0, 304.0, 306.0]):
        pace.add(Heartbeat(step, 10, "update", at))
        pace.add(Heartbeat(step, 10, "saving", at + 1))
    assert pace.step_seconds == 2.0
    assert pace.remaining(Heartbeat(4, 10, "update", 306.0)) == 12.0


def test_steps_that_pass_between_two_looks_share_the_time() -> None:
    pace = Pace()
    pace.add(Heartbeat(0, 100, "update", 0.0))
    pace.add(Heartbeat(10, 100, "update", 5.0))
    assert pace.step_seconds == 0.5


def test_milestones_only_move_forward() -> None:
    last = milestone("(TaskRunner pid=1) LLMServerManager: ['1.2.3.4:1']", -1)
    assert MILESTONES[last][1] == "all is up, about to train"
    assert milestone("Started a local Ray instance.", last) == last


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (11100, "3 h 05 min")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_only_the_first_metrics_are_shown() -> None:
    numbers = {f"m{i}": float(i) for i in range(6)}
    assert metrics_text(numbers) == "m0 0, m1 1, m2 2"
    assert metrics_text({"train/loss": float("nan"), "val/acc": 0.41239}, only="val") == "val/acc 0.4124"
