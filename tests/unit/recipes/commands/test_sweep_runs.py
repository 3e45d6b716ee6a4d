"""What becomes of the runs of a sweep that finish, fail or are stopped; tests/e2e/test_sweep.py has real ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from recipes.commands import sweep_runs
from recipes.commands.sweep import listing, planned_sweep
from recipes.common.errors import ExperimentError
from tests import ROOT
from tests.helpers.sweep_checks import Bench, draw_quickly, flags


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a test that is not about pictures."""
    monkeypatch.setattr(sweep_runs, "report", draw_quickly)
    return tmp_path


def test_runs_are_made_once_and_summed_up_over_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, "--algo", "sft,uft", "--seeds", "0,2")
    assert bench.carry_out() == 0
    assert [event["run"] for event in bench.events("began")] == [each.name for each in bench.plan]
    assert {entry["state"] for entry in bench.state().values()} == {"finished"}
    summary = (bench.folder / "summary.md").read_text()
    # Seeds 0 and 2 end with 5 and 7 of 10 right.
    assert "| uft | 60.0% (50.0% to 70.0%) | 20.0% | 2 |" in summary
    assert "countdown,uft,2,0.2,0.6,0.5,0.7," in (bench.folder / "summary.csv").read_text()
    assert (bench.folder / "report" / "index.html").exists()
    assert "[uft-countdown-s0] at work on uft-countdown-s0" in capsys.readouterr().out
    assert bench.carry_out() == 0
    assert len(bench.events("began")) == 4


def test_a_failed_run_stops_no_other_and_is_named_with_its_reason(quick: Path) -> None:
    bench = Bench(quick, "--algo", "sft,uft,rft")
    bench.does("uft-countdown-s0", "fail")
    assert bench.carry_out() == 1
    state = bench.state()
    assert {name: entry["state"] for name, entry in state.items()} == {
        "sft-countdown-s0": "finished",
        "uft-countdown-s0": "failed",
        "rft-countdown-s0": "finished",
    }
    assert (state["uft-countdown-s0"]["reason"], state["uft-countdown-s0"]["exit_code"]) == ("fix: buy some", 3)
    assert "| uft-countdown-s0 | failed |" in (bench.folder / "summary.md").read_text()
    assert "the cause: no bread" in (bench.folder / "logs/uft-countdown-s0.txt").read_text()


def test_a_run_that_failed_before_its_first_step_is_started_once_more_after_the_others(quick: Path) -> None:
    bench = Bench(quick, "--algo", "sft,uft,rft")
    bench.does("sft-countdown-s0", "fail")
    bench.does("uft-countdown-s0", "fail later")
    assert bench.carry_out() == 1
    order = ["sft", "uft", "rft", "sft"]
    assert [event["run"] for event in bench.events("began")] == [f"{algo}-countdown-s0" for algo in order]


def test_an_unfinished_run_goes_on_and_a_finished_one_rests(quick: Path) -> None:
    bench = Bench(quick, "--algo", "sft,uft,rft")
    bench.does("uft-countdown-s0", "fail")
    bench.carry_out()
    assert [each.state for each in bench.plan] == ["finished", "unfinished", "finished"]
    shown = listing(bench.plan)
    assert shown.startswith("3 runs, 2 finished\n")
    assert shown.count("python3 run.py") == 1
    assert "--resume" in shown
    bench.does("uft-countdown-s0", "finish")
    assert bench.carry_out() == 0
    assert [(event["run"], event["resume"]) for event in bench.events("began")[3:]] == [("uft-countdown-s0", True)] * 2
    assert bench.state()["uft-countdown-s0"]["reason"] == ""


def test_success_without_a_summary_is_a_failure(quick: Path) -> None:
    bench = Bench(quick, "--algo", "sft")
    (bench.prepared / "sft-countdown-s0" / "summary.json").unlink()
    assert bench.carry_out() == 1
    assert bench.state()["sft-countdown-s0"]["state"] == "failed"


def test_as_many_run_at_a_time_as_there_are_places_each_on_its_devices(quick: Path) -> None:
    bench = Bench(quick, "--algo", "sft,uft,rft,r3,stage")
    assert bench.carry_out(shares=[["0"], ["GPU-b"]]) == 0
    began = {event["run"]: event for event in bench.events("began")}
    ended = {event["run"]: event["time"] for event in bench.events("ended")}
    together = [
        {other for other in began if began[other]["time"] <= event["time"] < ended[other]} for event in began.values()
    ]
    assert max(map(len, together)) == 2
    assert all(len({began[name]["devices"] for name in group}) == len(group) for group in together)
    assert {event["devices"] for event in began.values()} == {"0", "GPU-b"}


@pytest.mark.parametrize(
    ("at_a_time", "given", "threads"), [(1, None, None), (2, None, "3"), (4, None, "3"), (2, "5", "5")]
)
def test_runs_on_the_cpu_share_its_cores(
    quick: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int, given: str | None, threads: str | None
) -> None:
    monkeypatch.setattr(sweep_runs, "cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    bench = Bench(quick, "--algo", "sft", "--seeds", "0,1")
    assert bench.carry_out(at_a_time) == 0
    assert [row["threads"] for row in bench.events("began")] == [threads] * 2


def test_a_folder_with_other_settings_is_refused(quick: Path) -> None:
    bench = Bench(quick, "--algo", "sft")
    bench.carry_out()
    with pytest.raises(ExperimentError, match="was started with sft_lr"):
        planned_sweep(flags("--algo", "sft", "--lr", "2e-3", "--out", str(bench.folder)))


def test_more_steps_for_a_finished_sweep_make_it_unfinished(quick: Path) -> None:
    bench = Bench(quick, "--algo", "uft", "--T", "6")
    bench.carry_out()
    longer = planned_sweep(flags("--algo", "uft", "--T", "9", "--T_hint", "6", "--out", str(bench.folder)))[1]
    assert [each.state for each in longer] == ["unfinished"]


def until(condition: Callable[[], object], seconds: float = 300.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def hanging(quick: Path) -> tuple[Bench, subprocess.Popen[bytes]]:
    """A sweep in a process of its own: one run is done, two are at work and would be for a minute."""
    bench = Bench(quick, "--algo", "sft,uft,rft,r3")
    for name in ("uft-countdown-s0", "rft-countdown-s0"):
        bench.does(name, "hang")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from recipes.commands import sweep_runs\n"
        "from tests.helpers.sweep_checks import draw_quickly, flags, planned_sweep\n"
        "sweep_runs.report = draw_quickly\n"
        f"plan = planned_sweep(flags('--algo', 'sft,uft,rft,r3', '--out', {str(bench.folder)!r}))[1]\n"
        f"folder, program = Path({str(bench.folder)!r}), {bench.program!r}\n"
        "sys.exit(sweep_runs.carry_out(plan, folder, shares=[None] * 2, program=program))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    until(lambda: len(bench.events("began")) == 3 and len(bench.events("ended")) == 1)
    return bench, process


def test_a_stopped_sweep_stops_its_runs_and_goes_on_later(hanging: tuple[Bench, subprocess.Popen[bytes]]) -> None:
    bench, process = hanging
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 128 + signal.SIGTERM
    assert not any(psutil.pid_exists(event["pid"]) for event in bench.events("began"))
    assert {name: entry["state"] for name, entry in bench.state().items()} == {
        "sft-countdown-s0": "finished",
        "uft-countdown-s0": "unfinished",
        "rft-countdown-s0": "unfinished",
        "r3-countdown-s0": "not started",
    }
    assert (bench.folder / "report" / "index.html").exists()
    for each in bench.plan:
        bench.does(each.name, "finish")
    assert bench.carry_out(2) == 0
    assert [(event["run"], event["resume"]) for event in bench.events("began")[3:]] == [
        ("uft-countdown-s0", True),
        ("rft-countdown-s0", True),
        ("r3-countdown-s0", False),
    ]


def test_the_runs_of_a_killed_sweep_do_not_live_on(hanging: tuple[Bench, subprocess.Popen[bytes]]) -> None:
    bench, process = hanging
    os.kill(process.pid, signal.SIGKILL)
    process.wait(300)
    running = {event["pid"] for event in bench.events("began")[1:]}
    until(lambda: not any(alive(pid) for pid in running))
    assert bench.state()["uft-countdown-s0"]["state"] == "running"
    for each in bench.plan:
        bench.does(each.name, "finish")
    assert bench.carry_out(2) == 0


def test_a_sweep_waits_for_the_runs_that_a_killed_one_left_to_end(quick: Path) -> None:
    """They are told to stop, and take their time: each would be refused, and booked as failed."""
    bench = Bench(quick, "--algo", "sft,uft")
    left = bench.folder / "uft-countdown-s0"
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "from recipes.watch.processes import hold_run\n"
        f"with hold_run(Path({str(left)!r})):\n print(flush=True)\n time.sleep(3)\n print(time.time(), flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as ending:
        assert ending.stdout
        ending.stdout.readline()
        assert bench.carry_out() == 0
        ended = float(ending.stdout.readline())
    assert min(event["time"] for event in bench.events("began")) > ended


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
