"""The console: what a person reads on a terminal and what a CI log holds."""

import errno
import io
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from recipes.common.records import Records
from recipes.watch.console import MILESTONES, Console, milestone
from recipes.watch.heartbeat import NOTICE, Heartbeat, read_heartbeat
from recipes.watch.pace import Pace, duration
from recipes.watch.shown import of_step, of_validation

ESCAPE = "\x1b["


def beats(phases: Iterable[str], seconds: float = 2.0, total: int = 9) -> list[Heartbeat]:
    return [
        Heartbeat(
            step,
            total,
            phase,
            100.0 + seconds * step,
            {"val/acc": step // 4 / 10, "val/step": step // 4 * 4, "train/loss": 1 / (step + 1)},
        )
        for step, phase in enumerate(phases)
    ]


def shown(states: Iterable[Heartbeat], *, terminal: bool, lines: Iterable[str] = (), width: int = 160) -> str:
    screen = io.StringIO()
    rich_console = RichConsole(file=screen, force_terminal=terminal, width=width, highlight=False)
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
        "  step 1/9  2.0 s/step  loss 0.5, acc 0.0% (step 0)",
        "  step 2/9  2.0 s/step, 14 s left  loss 0.333, acc 0.0% (step 0)",
        "  step 3/9  2.0 s/step, 12 s left  loss 0.25, acc 0.0% (step 0)",
        "  validation: acc 10.0% (step 4)",
        "  step 4/9  2.0 s/step, 10 s left  loss 0.2, acc 10.0% (step 4)",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_notice_of_the_trainer_is_shown_while_it_starts(terminal: bool) -> None:
    lines = ["x", f"(TaskRunner pid=7) {NOTICE}12 of 4096 training problems are skipped"]
    assert "note: 12 of 4096 training problems are skipped" in shown([], terminal=terminal, lines=lines)


def test_a_fast_run_does_not_flood_a_ci_log_but_shows_its_last_step() -> None:
    text = shown(beats(["update"] * 10), terminal=False)
    assert [line for line in text.splitlines() if "/9" in line] == [
        "  step 1/9  2.0 s/step  loss 0.5, acc 0.0% (step 0)",
        "  step 9/9  loss 0.1, acc 20.0% (step 8)",
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
    for step, at in enumerate([0.0, 300.0, 302.0, 602.0, 604.0, 606.0]):
        pace.add(Heartbeat(step, 10, "update", at))
    assert pace.step_seconds == 2.0
    assert pace.remaining(Heartbeat(5, 10, "update", 606.0)) == 10.0


def test_steps_that_pass_between_two_looks_share_the_time() -> None:
    pace = Pace()
    pace.add(Heartbeat(0, 100, "update", 0.0))
    pace.add(Heartbeat(10, 100, "update", 5.0))
    assert pace.step_seconds == 0.5


def run_of(
    total: int, *, test_freq: int, first: float, step: float, validation: float, saving: float
) -> list[Heartbeat]:
    """The heartbeats of a reinforcement run, as the trainer sends them."""
    now, found = 0.0, []

    def beat(at: int, phase: str, seconds: float) -> None:
        nonlocal now
        found.append(Heartbeat(at, total, phase, now, test_freq=test_freq))
        now += seconds

    beat(0, "starting", 70.0)
    beat(0, "validating", validation)
    for number in range(1, total + 1):
        seconds = first if number == 1 else step
        beat(number - 1, "rollout", 0.4 * seconds)
        beat(number - 1, "update", 0.6 * seconds)
        if number % test_freq == 0 or number == total:
            beat(number - 1, "validating", validation)
            beat(number, "saving", saving)
        else:
            beat(number, "rollout", 0.0)
    beat(total, "finished", 0.0)
    return found


@pytest.mark.parametrize(
    ("total", "test_freq", "first", "step", "validation", "saving"),
    [
        (30, 5, 24.7, 3.4, 8.3, 2.0),
        (500, 25, 90.0, 60.0, 300.0, 60.0),
        (30, 1, 5.0, 1.0, 4.0, 1.0),
        (12, 12, 9.0, 2.0, 9, 1),
    ],
)
def test_after_five_steps_the_time_left_is_right_within_a_third(
    total: int, test_freq: int, first: float, step: float, validation: float, saving: float
) -> None:
    beats_of_run = run_of(total, test_freq=test_freq, first=first, step=step, validation=validation, saving=saving)
    pace, end = Pace(), beats_of_run[-1].time
    for beat in beats_of_run:
        pace.add(beat)
        if 5 <= beat.step < total and beat.phase == "rollout":
            said = pace.remaining(beat)
            assert said == pytest.approx(end - beat.time, rel=1 / 3), beat


def test_eighty_columns_keep_step_pace_and_time_left() -> None:
    """And of the rest what matters most; nothing is cut."""
    numbers = {"uft/score/l=0": 0.4142, "uft/hint_frac": 0.51, "critic/score/mean": 0.7, "actor/pg_loss": 5.9e-10}
    numbers |= {"val/acc": 0.1758, "val/step": 10.0}
    states = [Heartbeat(step, 300, "update", 15.9 * step, numbers) for step in (12, 13, 14)]
    last = {width: line(shown(states, terminal=True, width=width)) for width in (40, 80, 120, 160)}
    assert last[40] == "14/300 15.9 s/step, 1 h 15 min left"
    assert last[80] == "14/300 15.9 s/step, 1 h 15 min left unhinted reward 0.414 51% given"
    assert "updating the policy" in last[120]
    assert "acc 17.6% (step 10)" in last[120]
    assert last[160].startswith("uft on countdown")
    assert all("…" not in text for text in last.values())


def line(screen: str) -> str:
    """What stands on the refreshed line in the end, without colours and without the bar."""
    last = [part for part in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).split("\r") if part.strip()][-1]
    return " ".join(last.replace("━", "").replace("╸", "").replace("╺", "").split())


@pytest.mark.parametrize(
    ("metrics", "step", "validation"),
    [
        ({"critic/score/mean": 0.5, "actor/pg_loss": 1e-9}, ["reward 0.5"], []),
        ({"critic/score/mean": 0.5, "uft/hint_frac": 0.95}, ["reward 0.5 with hints", "95% given"], []),
        ({"uft/score/l=0": 0.25, "critic/score/mean": 0.25, "uft/hint_frac": 0.0}, ["reward 0.25"], []),
        ({"train/loss": 0.6931, "val/loss": 0.55, "val/step": 4}, ["loss 0.693"], ["val loss 0.55 (step 4)"]),
        ({"problems": 32, "of": 256}, ["32 of 256 problems"], []),
        ({"texts": 32, "of": 256}, ["32 of 256 texts"], []),
        ({"val/acc": 0.5}, [], []),
    ],
)
def test_a_run_is_told_by_what_matters_for_its_algorithm(
    metrics: dict[str, float], step: list[str], validation: list[str]
) -> None:
    assert of_step(metrics) == step
    assert of_validation(metrics) == validation


def test_an_evaluation_says_its_result_once() -> None:
    found = {"val/acc": 0.25, "val/step": 4.0}
    states = [Heartbeat(0, 1, "validating", 1.0), Heartbeat(0, 1, "validating", 2.0, found)]
    text = shown([*states, Heartbeat(1, 1, "finished", 3.0, found)], terminal=False)
    assert text.count("acc 25.0% (step 4)") == 1
    assert "step 1/1" not in text


@pytest.mark.parametrize("terminal", [True, False])
def test_what_takes_one_step_counts_within_it_and_says_how_long_it_takes(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.watch.console.PLAIN_INTERVAL_S", 0.0)
    counts = [(0, 1.0), (64, 11.0), (128, 21.0)]
    states = [Heartbeat(0, 1, "validating", at, {"texts": done, "of": 256}) for done, at in counts]
    text = shown([*states, Heartbeat(1, 1, "finished", 50.0)], terminal=terminal)
    assert "0 of 256 texts" in text
    if terminal:
        assert "64/256" in text
        assert "30 s left" in text
    else:
        assert "  64 of 256 texts  30 s left\n  128 of 256 texts  20 s left\n" in text


def test_a_heartbeat_holds_nothing_of_an_earlier_step_but_its_validation(tmp_path: Path) -> None:
    records = Records(tmp_path, 9, test_freq=3)
    records.log(3, {"val/acc": 0.5, "uft/score/l=0": 0.25, "uft/hint_frac": 0.5})
    records.log(4, {"uft/hint_frac": 0.25})
    records.phase("rollout", 4)
    beat = read_heartbeat(tmp_path)
    assert beat is not None
    assert beat.metrics == {"uft/hint_frac": 0.25, "val/acc": 0.5, "val/step": 3.0}
    assert beat.test_freq == 3


def test_milestones_only_move_forward() -> None:
    last = milestone("(TaskRunner pid=1) LLMServerManager: ['1.2.3.4:1']", -1)
    assert MILESTONES[last][1] == "everything is up, training begins"
    assert milestone("Started a local Ray instance.", last) == last


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (11100, "3 h 05 min")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
