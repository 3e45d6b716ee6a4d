"""Sweeps: which runs they mean, how devices are shared out, and what becomes of runs that finish, fail or are stopped.

The runs here are processes of a stand-in for run.py, which copies a prepared run folder; tests/e2e/test_sweep.py has
real ones.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import run
from recipes import sweep_runs
from recipes.experiment import Experiment, ExperimentError, to_yaml
from recipes.front import plan_training
from recipes.launch import DONE
from recipes.profiles import PROFILES
from recipes.resolve import build_experiment
from recipes.run_dir import write_json, write_text
from recipes.sweep import Planned, arguments, device_shares, listing, planned_sweep, sweep
from recipes.sweep_runs import carry_out
from tests.run_folders import write_run

ROOT = Path(__file__).resolve().parents[2]


def flags(*words: str) -> dict[str, Any]:
    """What run.py hands to a sweep."""
    own, overrides = run._split(["--profile", "cpu", *words])
    found = vars(run.parser().parse_args(own))
    if overrides:
        found["overrides"] = tuple(overrides)
    for name in ("visible_devices", "eval", "sweep", "reproduce"):
        found.pop(name)
    return found


def names(*words: str) -> list[str]:
    return [each.name for each in planned_sweep(flags(*words))[1]]


# ------------------------------------------------------------------------------------------------ which runs


def test_every_combination_is_a_run_and_the_first_seed_comes_first() -> None:
    assert names("--algo", "sft,uft", "--data", "countdown,kk_logic", "--seeds", "3,5") == [
        f"{algo}-{task}-s{seed}" for seed in (3, 5) for task in ("countdown", "kk_logic") for algo in ("sft", "uft")
    ]


def test_one_seed_and_the_defaults_are_those_of_a_single_run() -> None:
    assert names() == ["uft-countdown-s0"]
    assert names("--seed", "4") == ["uft-countdown-s4"]


def test_a_runs_command_means_the_planned_experiment(tmp_path: Path) -> None:
    given = ("--algo", "r3,sft_rft", "--seeds", "1", "--T", "7", "--T_hint", "3", "--lr", "2e-5", "--val_size", "-1")
    given += (
        "--logger",
        "console,file",
        "--allow_overlap",
        "--out",
        str(tmp_path),
        "--",
        "trainer.balance_batch=False",
    )
    parsed = flags(*given)
    parsed["logger"] = ("console", "file")
    _, plan = planned_sweep(parsed)
    for planned in plan:
        own, overrides = run._split(planned.arguments(resume=True))
        again = vars(run.parser().parse_args(own)) | {"overrides": tuple(overrides)}
        assert not again.pop("sweep")
        again["logger"] = tuple(again["logger"].split(","))
        for name in ("visible_devices", "eval", "reproduce"):
            again.pop(name)
        steering, experiment = plan_training(again)
        assert experiment == planned.experiment
        assert steering.folder("") == planned.folder == tmp_path / planned.name
        assert steering.resume
    assert plan[0].experiment.overrides == ("trainer.balance_batch=False",)
    assert "--resume" not in plan[0].arguments()


def test_flags_become_words() -> None:
    given = {"T": 3, "resume": True, "dry_run": False, "model": None, "logger": ("a", "b"), "overrides": ("x=1",)}
    assert arguments(given) == ["--T", "3", "--resume", "--logger", "a,b", "--", "x=1"]


def test_a_sweep_grows_in_its_folder_and_another_setting_gets_another() -> None:
    first = planned_sweep(flags("--algo", "sft", "--seeds", "0"))[0]
    assert planned_sweep(flags("--algo", "sft,uft", "--seeds", "0,1", "--parallel", "2"))[0] == first
    assert planned_sweep(flags("--algo", "sft", "--seeds", "0", "--lr", "1e-4"))[0] != first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--algo", "sft,utf"), "--algo utf: no such algorithm; did you mean 'uft'"),
        (("--data", "countdown,countdwn"), "--data countdwn: neither a task nor a file"),
        (("--data", "countdown,others"), "only for evaluation"),
        (("--algo", "sft,,uft"), "a name is missing"),
        (("--algo", "sft,uft,sft"), "sft is given twice"),
        (("--algo", "rft,grpo"), "rft-countdown-s0 is asked for twice"),
        (("--seeds", "0,one"), "'one' is not a whole number"),
        (("--seeds", "0,0"), "0 is given twice"),
        (("--seeds", "0", "--seed", "1"), "--seed and --seeds"),
        (("--parallel", "0"), "--parallel 0: must be at least 1"),
        (("--n_samples", "4"), "--n_samples belongs to --eval"),
        (("--T", "5", "--T_hint", "9"), "--T_hint 9 is past --T 5"),
    ],
)
def test_mistakes_are_named_before_anything_starts(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=message):
        sweep(flags(*words, "--out", str(tmp_path / "sweep")))
    assert not (tmp_path / "sweep").exists()


def test_a_single_run_refuses_the_flags_of_a_sweep() -> None:
    with pytest.raises(ExperimentError, match="--parallel belongs to --sweep"):
        plan_training(flags("--parallel", "2"))


# ------------------------------------------------------------------------------------------------ devices


def experiment(profile: str, **given: Any) -> Experiment:
    return build_experiment(given, PROFILES[profile])


def test_devices_are_shared_out_without_overlap() -> None:
    two = [experiment("h100x2"), experiment("h100x2", algo="sft")]
    assert device_shares(two, list("01234567"), 4) == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]]
    assert device_shares(two, ["3", "5", "GPU-a", "GPU-b", "9"], 2) == [["3", "5"], ["GPU-a", "GPU-b"]]


def test_the_largest_run_decides_the_share() -> None:
    mixed = [experiment("h100x2"), experiment("h100x4")]
    assert device_shares(mixed, list("01234567"), 2) == [list("0123"), list("4567")]
    with pytest.raises(ExperimentError, match="3 runs of 4 device"):
        device_shares(mixed, list("01234567"), 3)


def test_too_few_devices_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(ExperimentError, match=r"3 runs of 2 device\(s\) need 6, and there are 4 \(0, 1, 2, 3\)"):
        device_shares([experiment("h100x2")], list("0123"), 3)


def test_one_at_a_time_and_runs_on_the_cpu_are_given_no_share() -> None:
    assert device_shares([experiment("h100x8")], [], 1) == [None]
    assert device_shares([experiment("cpu")], [], 3) == [None, None, None]


def test_runs_on_several_nodes_go_one_at_a_time() -> None:
    with pytest.raises(ExperimentError, match="one at a time"):
        device_shares([experiment("h100x8", nnodes=2)], list("01234567"), 2)


# ------------------------------------------------------------------------------------------------ carrying out

# Does what <prepared>/<name>.does says, and notes down when it began and ended.
STAND_IN = """
import json, os, pathlib, shutil, sys, time
prepared, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
out = pathlib.Path(arguments[arguments.index("--out") + 1])
def note(what):
    seen = {"run": out.name, "what": what, "time": time.time(), "pid": os.getpid(), "resume": "--resume" in arguments,
            "devices": os.environ.get("CUDA_VISIBLE_DEVICES")}
    with open(prepared / "events.jsonl", "a") as file:
        file.write(json.dumps(seen) + "\\n")
note("began")
does = (prepared / (out.name + ".does")).read_text()
print("at work on", out.name, flush=True)
out.mkdir(parents=True, exist_ok=True)
shutil.copy(prepared / out.name / "experiment.yaml", out)
if does == "fail later":
    shutil.copy(prepared / out.name / "metrics.jsonl", out)
if does.startswith("fail"):
    print("the cause: no bread")
    print("mend: buy some", flush=True)
    sys.exit(3)
time.sleep(60 if does == "hang" else 0.7)
shutil.copytree(prepared / out.name, out, dirs_exist_ok=True)
note("ended")
"""


def draw_quickly(folders: list[Path], out: Path, title: str) -> str:
    """Instead of the pictures, which take seconds."""
    write_text(out / "index.html", f"{title} {folders}")
    return ""


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a test that is not about pictures."""
    monkeypatch.setattr(sweep_runs, "report", draw_quickly)
    return tmp_path


class Bench:
    """A sweep of prepared runs."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.prepared = folder / "sweep", folder / "prepared"
        self.prepared.mkdir()
        self.plan: list[Planned] = planned_sweep(flags(*words, "--out", str(self.folder)))[1]
        (folder / "stand_in.py").write_text(STAND_IN)
        self.program = [sys.executable, str(folder / "stand_in.py"), str(self.prepared)]
        for each in self.plan:
            settings = yaml.safe_load(to_yaml(each.experiment))
            write_run(self.prepared / each.name, settings, [2, 5 + each.experiment.seed], of=10)
            write_json(self.prepared / each.name / DONE, {})
            self.does(each.name, "finish")

    def does(self, name: str, what: str) -> None:
        (self.prepared / f"{name}.does").write_text(what)

    def carry_out(self, places: int = 1, shares: list[list[str] | None] | None = None) -> int:
        return carry_out(self.plan, self.folder, shares=shares or [None] * places, program=self.program)

    def events(self, what: str) -> list[dict[str, Any]]:
        file = self.prepared / "events.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [row for row in rows if row["what"] == what]

    def state(self) -> dict[str, dict[str, Any]]:
        return json.loads((self.folder / "sweep.json").read_text())["runs"]


def test_runs_are_made_once_and_summed_up_over_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, "--algo", "sft,uft", "--seeds", "0,2")
    assert bench.carry_out() == 0
    assert [event["run"] for event in bench.events("began")] == [each.name for each in bench.plan]
    assert {entry["state"] for entry in bench.state().values()} == {"finished"}
    summary = (bench.folder / "summary.md").read_text()
    # Seeds 0 and 2 end with 5 and 7 of 10 right.
    assert "| uft | 2 | 20.0% (20.0% to 20.0%) | 60.0% (50.0% to 70.0%) |" in summary
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
    assert (state["uft-countdown-s0"]["reason"], state["uft-countdown-s0"]["exit_code"]) == ("mend: buy some", 3)
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
    assert [each.standing for each in bench.plan] == ["finished", "unfinished", "finished"]
    shown = listing(bench.plan)
    assert shown.startswith("3 runs, 2 of them finished\n")
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


def test_a_folder_with_other_settings_is_refused(quick: Path) -> None:
    bench = Bench(quick, "--algo", "sft")
    bench.carry_out()
    with pytest.raises(ExperimentError, match="was started with lr"):
        planned_sweep(flags("--algo", "sft", "--lr", "1e-3", "--out", str(bench.folder)))


def test_more_steps_for_a_finished_sweep_make_it_unfinished(quick: Path) -> None:
    bench = Bench(quick, "--algo", "uft", "--T", "6")
    bench.carry_out()
    longer = planned_sweep(flags("--algo", "uft", "--T", "9", "--T_hint", "6", "--out", str(bench.folder)))[1]
    assert [each.standing for each in longer] == ["unfinished"]


# ------------------------------------------------------------------------------------------------ being stopped


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
        "from tests.unit.test_sweep import *\n"
        "sweep_runs.report = draw_quickly\n"
        f"plan = planned_sweep(flags('--algo', 'sft,uft,rft,r3', '--out', {str(bench.folder)!r}))[1]\n"
        f"sys.exit(carry_out(plan, Path({str(bench.folder)!r}), shares=[None] * 2, program={bench.program!r}))\n"
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


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
