"""The watchdog, tried on small real processes that crash, hang, fork away from it and refuse to end."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from recipes.watch.heartbeat import Heartbeat, LogFollower
from recipes.watch.processes import MARK, RunBusyError, end_leftovers, end_processes, hold_run, is_living, processes_of
from recipes.watch.signs import Limits, Signs
from recipes.watch.supervise import Outcome, supervise

ROOT = Path(__file__).parents[2]
FAST = Limits(
    startup_minutes=0.5,
    vital_death_s=0.4,
    error_s=0.4,
    shutdown_s=0.3,
    end_grace_s=0.4,
    poll_s=0.03,
    scan_s=0.06,
    memory_s=0.1,
)
# Longer than a slow machine may make a fake step, shorter than the runs that have to survive.
PATIENT = replace(FAST, vital_death_s=1.0, error_s=1.0)

# What every fake trainer begins with.
PRELUDE = r"""
import ctypes, json, os, signal, subprocess, sys, time
run_dir = os.environ["UFT_RUN_DIR"]

def beat(step, phase="update", **more):
    state = {"step": step, "total_steps": 4, "phase": phase, "time": time.time(), "metrics": {"val/acc": step / 4}}
    with open(run_dir + "/part", "w") as file:
        json.dump(state | more, file)
    os.replace(run_dir + "/part", run_dir + "/progress.json")

def child(code, **more):
    return subprocess.Popen([sys.executable, "-c", code], **more)

def worker(name):  # one that has its title, as setproctitle gives it, when this returns
    title = f"import ctypes; ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0); print('up', flush=True)\n"
    process = child(title + NAP, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process

NAP = "import time; time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n" + NAP
"""


def trainer(code: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(code)]


def watch(run_dir: Path, code: str, *, stall_minutes: float = 0.5, limits: Limits = FAST) -> Outcome:
    outcome = supervise(
        trainer(code), {}, run_dir, stall_minutes=stall_minutes, total_steps=4, title="uft", limits=limits
    )
    assert processes_of(run_dir) == []
    return outcome


def wait_until(ready: Callable[[], bool], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.02)


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert end_processes(processes_of(tmp_path), 0.0) == []


def test_a_run_that_finishes(run_dir: Path) -> None:
    outcome = watch(run_dir, "for i in range(5): beat(i); time.sleep(0.05)\nprint('hello'); beat(4, 'finished')")
    assert (outcome.exit_code, outcome.reason) == (0, "finished")
    assert "uft finished 4 steps" in outcome.paragraph
    assert (run_dir / "log.txt").read_text() == "hello\n"
    assert not (run_dir / "run.lock").exists()


def test_output_of_an_earlier_run_stays_and_is_not_taken_for_this_one(run_dir: Path) -> None:
    (run_dir / "log.txt").write_text("Traceback (most recent call last):\n  File 'x'\nOSError: long ago\n")
    (run_dir / "progress.json").write_text('{"step": 4, "total_steps": 4, "phase": "finished", "time": 0}')
    outcome = watch(run_dir, "raise KeyError('now')")
    assert outcome.exit_code == 1
    assert "KeyError: 'now'" in outcome.paragraph
    assert "before the first sign of life" in outcome.paragraph
    assert "long ago" in (run_dir / "log.txt").read_text()


def test_a_crash_is_diagnosed_and_its_exit_code_kept(run_dir: Path) -> None:
    outcome = watch(
        run_dir,
        """
        beat(2)
        time.sleep(0.2)
        import traceback
        try:
            raise OSError(28, "No space left on device", "out/x")
        except OSError:
            traceback.print_exc()
        sys.exit(7)
        """,
    )
    assert (outcome.exit_code, outcome.reason) == (7, "failed")
    assert "after 2 of 4 steps" in outcome.paragraph
    assert "The disk (or your quota) is full" in outcome.paragraph
    assert "There is no checkpoint yet" in outcome.paragraph


def test_the_way_back_is_named_when_there_is_a_checkpoint(run_dir: Path) -> None:
    saved = run_dir / "checkpoints" / "global_step_3"
    saved.mkdir(parents=True)
    (saved / "complete.json").write_text("{}")
    assert "--resume goes on from the checkpoint of step 3" in watch(run_dir, "sys.exit(1)").paragraph


def test_a_kill_is_reported_the_way_shells_do(run_dir: Path) -> None:
    outcome = watch(run_dir, "beat(1); os.kill(os.getpid(), 9)")
    assert outcome.exit_code == 137
    assert "killed by SIGKILL" in outcome.paragraph


def test_an_end_before_the_last_step_is_no_success(run_dir: Path) -> None:
    outcome = watch(run_dir, "beat(3)")
    assert (outcome.exit_code, outcome.reason) == (1, "incomplete")
    assert "before its last step, after 3 of 4 steps" in outcome.paragraph


def test_a_stall_is_ended_and_shows_where_it_hangs(run_dir: Path) -> None:
    outcome = watch(
        run_dir,
        """
        import faulthandler
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        def wait_for_ever(): time.sleep(60)
        beat(1, "rollout", faulthandler=True, pid=os.getpid())
        wait_for_ever()
        """,
        stall_minutes=0.03,
    )
    assert (outcome.exit_code, outcome.reason) == (124, "stalled")
    assert "made no progress for" in outcome.paragraph
    assert "while generating answers" in outcome.paragraph
    assert "wait_for_ever" in outcome.paragraph
    assert outcome.seconds < 15


def test_the_stack_also_comes_from_the_process_itself(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.watch.stacks._by_py_spy", lambda *_: [])
    outcome = watch(
        run_dir,
        """
        import faulthandler, threading
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        def wait_for_ever(): time.sleep(60)
        beat(1, faulthandler=True)
        wait_for_ever()
        """,
        stall_minutes=0.01,
    )
    assert "It waits in wait_for_ever (<string>:" in outcome.paragraph


def test_a_start_that_never_gets_going_is_ended(run_dir: Path) -> None:
    limits = Limits(startup_minutes=0.01, end_grace_s=0.4, poll_s=0.05)
    outcome = watch(run_dir, "time.sleep(60)", limits=limits)
    assert outcome.reason == "stalled"
    assert "while starting" in outcome.paragraph


@pytest.mark.parametrize("name", ["VLLM::EngineCore", "ray::TaskRunner"])
def test_a_worker_s_death_is_noticed_while_the_trainer_waits(run_dir: Path, name: str) -> None:
    outcome = watch(
        run_dir,
        f"""
        lost = worker("{name}")
        beat(1)
        time.sleep(0.6)
        lost.kill()  # never waited for: a zombie, as in Ray
        time.sleep(60)
        """,
    )
    assert (outcome.exit_code, outcome.reason) == (1, "lost_worker")
    assert name[:15] in outcome.paragraph


def test_workers_may_end_while_the_run_goes_on_and_at_its_end(run_dir: Path) -> None:
    outcome = watch(
        run_dir,
        """
        workers = [worker("ray::WorkerDict"), worker("ray::WorkerDict")]
        beat(1)
        time.sleep(0.4)
        workers[0].kill()
        for step in range(2, 7):
            time.sleep(0.3)
            beat(step)
        beat(4, "finished")
        workers[1].kill()
        time.sleep(0.3)
        """,
        limits=PATIENT,
    )
    assert outcome.exit_code == 0


def test_an_error_in_a_worker_followed_by_silence_ends_the_run(run_dir: Path) -> None:
    outcome = watch(
        run_dir,
        """
        beat(1, "rollout")
        time.sleep(0.1)
        print("(Worker pid=1) ERROR 11-21 09:01:43 [a.py:1] WorkerProc hit an exception.")
        print("(Worker pid=1) ERROR 11-21 09:01:43 [a.py:1] Traceback (most recent call last):")
        print('(Worker pid=1) ERROR 11-21 09:01:43 [a.py:1]   File "a.py", line 1, in receive_weights')
        print("(Worker pid=1) ERROR 11-21 09:01:43 [a.py:1] RuntimeError: shapes differ")
        time.sleep(60)
        """,
    )
    assert (outcome.exit_code, outcome.reason) == (1, "engine_error")
    assert "RuntimeError: shapes differ" in outcome.paragraph
    assert "Handing the trained weights to vLLM failed" in outcome.paragraph


def test_an_error_that_the_run_survives_is_forgotten(run_dir: Path) -> None:
    code = "beat(1)\nprint('RayTaskError')\nfor i in range(2, 7): time.sleep(0.3); beat(i)\nbeat(4, 'finished')"
    assert watch(run_dir, code, limits=PATIENT).exit_code == 0


@pytest.mark.parametrize(("phase", "exit_code"), [("finished", 0), ("failed", 1)])
def test_a_trainer_that_is_done_but_does_not_end_is_ended(run_dir: Path, phase: str, exit_code: int) -> None:
    outcome = watch(run_dir, f"beat(4, '{phase}'); time.sleep(60)")
    assert (outcome.exit_code, outcome.reason) == (exit_code, phase)


def test_nothing_is_left_behind(run_dir: Path) -> None:
    before = psutil.Process().children()
    watch(
        run_dir,
        """
        child(NAP)
        child(NAP, start_new_session=True)
        child(STUBBORN)
        if os.fork() == 0:  # a daemon: twice forked, its own session
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        child(NAP, start_new_session=True, env={})  # without the mark, and soon without parents
        beat(1)
        time.sleep(0.4)
        sys.exit(3)
        """,
    )
    assert [child for child in psutil.Process().children() if child not in before] == []


def test_memory_counts_all_processes_at_once(run_dir: Path) -> None:
    outcome = watch(
        run_dir,
        """
        code = "x = bytearray(60 << 20); x[::4096] = b'x' * len(x[::4096]); print('full', flush=True); input()"
        holders = [child(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
        for holder in holders:
            holder.stdout.readline()
        time.sleep(1)
        for holder in holders:
            holder.communicate(b"\\n")
        beat(4, "finished")
        """,
    )
    assert 120 << 20 < outcome.peak_rss_bytes < 400 << 20


DRIVER = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from recipes.watch.supervise import supervise
from recipes.watch.signs import Limits
limits = Limits(end_grace_s=float(sys.argv[3]), poll_s=0.05)
run_dir, command = Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2]]
outcome = supervise(command, {}, run_dir, stall_minutes=1, total_steps=4, title="uft", limits=limits)
print(outcome.paragraph)
sys.exit(outcome.exit_code)
"""
FAMILY = "child(NAP, start_new_session=True)\nchild(STUBBORN)\nbeat(2)\ntime.sleep(60)"


def start_supervisor(run_dir: Path, code: str = FAMILY, grace_s: float = 0.4) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, str(run_dir), PRELUDE + code, str(grace_s)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def family_is_up(run_dir: Path) -> bool:
    log = run_dir / "log.txt"
    return len(processes_of(run_dir)) == 3 and (run_dir / "progress.json").exists() and "deaf" in log.read_text()


@pytest.mark.parametrize(
    ("signum", "exit_code", "word"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_person_may_stop_it(run_dir: Path, signum: int, exit_code: int, word: str) -> None:
    with start_supervisor(run_dir) as supervisor:
        wait_until(lambda: family_is_up(run_dir))
        supervisor.send_signal(signum)
        said, _ = supervisor.communicate(timeout=20)
    assert supervisor.returncode == exit_code
    assert f"uft was stopped by {word} after 2 of 4 steps" in said
    assert "All of its processes have ended." in said
    assert "--resume" in said
    assert processes_of(run_dir) == []


def test_asking_twice_does_not_wait_for_manners(run_dir: Path) -> None:
    with start_supervisor(
        run_dir, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FAMILY, grace_s=30
    ) as supervisor:
        wait_until(lambda: family_is_up(run_dir))
        asked = time.monotonic()
        supervisor.send_signal(signal.SIGINT)
        time.sleep(0.5)
        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=20)
    assert supervisor.returncode == 130
    assert time.monotonic() - asked < 8
    assert processes_of(run_dir) == []


def test_a_killed_supervisor_s_processes_are_found_and_ended_later(run_dir: Path) -> None:
    with start_supervisor(run_dir) as supervisor:
        wait_until(lambda: family_is_up(run_dir))
        with pytest.raises(RunBusyError, match=f"process {supervisor.pid} .* already at work"):
            end_leftovers(run_dir)
        with pytest.raises(RunBusyError):
            supervise(["true"], {}, run_dir, stall_minutes=1, total_steps=4, title="second")
        assert family_is_up(run_dir)
        supervisor.kill()
        supervisor.communicate(timeout=10)
    assert (run_dir / "run.lock").exists()
    assert len(processes_of(run_dir)) == 3
    assert end_leftovers(run_dir, grace_s=0.3) == 3
    assert processes_of(run_dir) == []
    assert end_leftovers(run_dir) == 0


def test_a_new_supervisor_ends_what_a_killed_one_left(run_dir: Path) -> None:
    with start_supervisor(run_dir) as supervisor:
        wait_until(lambda: family_is_up(run_dir))
        left = [process.pid for process in processes_of(run_dir)]
        supervisor.kill()
        supervisor.communicate(timeout=10)
    # A zombie has no program any more, so this is true of living processes only.
    code = f"beat(4, 'finished'); sys.exit(any(os.path.exists(f'/proc/{{pid}}/exe') for pid in {left}))"
    assert watch(run_dir, code).exit_code == 0


def test_descendants_belong_to_the_run_also_without_the_mark(run_dir: Path) -> None:
    code = PRELUDE + "child(NAP, env={}); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, MARK: str(run_dir)}) as parent:
        wait_until(lambda: len(processes_of(run_dir)) == 2)
        assert end_processes(processes_of(run_dir), 2.0) == []
        parent.wait()


def test_the_mark_is_the_whole_path(run_dir: Path) -> None:
    inner = run_dir / "a"
    environment = {**os.environ, MARK: str(run_dir / "ab")}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment) as other:
        try:
            wait_until(lambda: [process.pid for process in processes_of(run_dir / "ab")] == [other.pid])
            assert processes_of(inner) == []
            assert is_living(psutil.Process(other.pid))
        finally:
            other.kill()


def test_the_caller_and_its_ancestors_are_never_of_the_run(run_dir: Path) -> None:
    code = f"from recipes.watch.processes import *; print(processes_of(Path({str(run_dir)!r})))"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -c "{code}"; true'],
        env={**os.environ, MARK: str(run_dir)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_a_lock_is_free_again_after_use_and_after_its_holder_s_death(run_dir: Path) -> None:
    with hold_run(run_dir):
        note = json.loads((run_dir / "run.lock").read_text())
        assert note["pid"] == os.getpid()
        with pytest.raises(RunBusyError, match=f"process {os.getpid()} .* choose another --out"), hold_run(run_dir):
            pass
    (run_dir / "run.lock").write_text(json.dumps(note))
    with hold_run(run_dir):
        pass
    (run_dir / "run.lock").write_text("torn")
    with hold_run(run_dir):
        pass


def test_a_log_is_read_once_and_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("before\n")
    log = LogFollower(path)
    assert log.new_lines() == []
    with path.open("a") as file:
        for text in ("one\ntw", "o\n", "three"):
            file.write(text)
            file.flush()
            if text == "o\n":
                assert log.new_lines() == ["two"]
                log.mark()
            elif text == "one\ntw":
                assert log.new_lines() == ["one"]
    assert log.new_lines() == []
    assert (log.since_mark, log.tail) == ("three", "one\ntwo\nthree")


def test_a_helper_s_death_gets_as_long_as_a_phase_has_taken() -> None:
    signs = Signs(Limits(), stall_s=7200, changed=0.0)
    for step, now in enumerate([100.0, 400.0, 405.0]):
        signs.see_heartbeat(Heartbeat(step, 9, "rollout", now), now)
    for now in (404.0, 406.0):
        signs.see_processes({1: "ray::AgentLoopWorker.run", 2: "ray::IDLE", 3: "ray::WorkerDict"}, now)
    signs.see_processes({3: "ray::WorkerDict"}, 410.0)
    assert signs.hopeless(410.0 + 440) is None
    verdict = signs.hopeless(410.0 + 460)
    assert verdict
    assert (verdict.reason, verdict.dead) == ("lost_worker", ("ray::AgentLoopWorker",))


def test_a_vital_worker_s_death_does_not() -> None:
    signs = Signs(Limits(), stall_s=7200, changed=0.0)
    for step, now in enumerate([100.0, 400.0]):
        signs.see_heartbeat(Heartbeat(step, 9, "rollout", now), now)
    for now in (404.0, 406.0):
        signs.see_processes({3: "ray::WorkerDict.update"}, now)
    signs.see_processes({}, 410.0)
    assert signs.hopeless(429.0) is None
    assert signs.hopeless(431.0)


def test_the_start_has_its_own_limit() -> None:
    signs = Signs(Limits(), stall_s=60, changed=0.0)
    assert signs.hopeless(599.0) is None
    assert signs.hopeless(601.0)
    signs.see_heartbeat(Heartbeat(0, 9, "starting", 0.0), 601.0)
    assert signs.hopeless(1200.0) is None
    signs.see_heartbeat(Heartbeat(0, 9, "rollout", 0.0), 1200.0)
    assert signs.hopeless(1262.0)


def test_a_forked_child_that_bears_an_actors_title_for_a_moment_is_no_death() -> None:
    """Between fork and exec a child of an actor shows the actor's title; a scan may fall into that moment."""
    signs = Signs(limits=Limits(), stall_s=600, changed=0.0)
    actor, child = "actor", "child"
    signs.see_processes({actor: "ray::TaskRunner.run"}, 1.0)
    signs.see_processes({actor: "ray::TaskRunner.run", child: "ray::TaskRunner.run"}, 3.0)
    signs.see_processes({actor: "ray::TaskRunner.run"}, 5.0)
    assert signs.hopeless(500.0) is None
    signs.see_processes({}, 501.0)
    verdict = signs.hopeless(600.0)
    assert verdict is not None
    assert verdict.dead == ("ray::TaskRunner",)


def test_a_fork_that_lingers_under_its_parents_title_is_no_death(tmp_path: Path) -> None:
    """On a busy machine a child may stay between fork and exec for longer than two looks."""
    outcome = watch(
        tmp_path,
        r"""
        actor = child(
            "import ctypes, os, time; ctypes.CDLL(None).prctl(15, b'WorkerDict', 0, 0, 0); print('up', flush=True)\n"
            "pid = os.fork()\n"
            "time.sleep(0.6 if pid == 0 else 60)",
            stdout=subprocess.PIPE,
        )
        actor.stdout.readline()
        beat(0)
        time.sleep(2)
        beat(4, "finished")
        actor.terminate()
        """,
    )
    assert outcome.reason == "finished", outcome.paragraph
