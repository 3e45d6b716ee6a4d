"""The watchdog, tried on small real processes that crash, hang, fork away from it and refuse to end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from recipes.watch.processes import end_processes, marked_environment, name_of, processes_of
from recipes.watch.signs import Limits
from recipes.watch.supervise import supervise
from tests.helpers.watch_checks import FAST, PATIENT, trainer, wait_until, watch


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
    (saved / "complete.json").write_text('{"step": 3}')
    assert "--resume continues from the checkpoint of step 3" in watch(run_dir, "sys.exit(1)").paragraph


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


def test_a_process_that_somebody_has_stopped_is_named(run_dir: Path) -> None:
    code = """
        held = worker("WorkerDict")
        os.kill(held.pid, signal.SIGSTOP)
        beat(1)
        time.sleep(60)
        """
    outcome = watch(run_dir, code, stall_minutes=0.03)
    assert outcome.reason == "stalled"
    assert "SIGSTOP suspended WorkerDict." in outcome.paragraph


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
    assert "Sending the trained weights to vLLM failed" in outcome.paragraph


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


def test_helpers_of_a_run_are_watched_and_outlive_it(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server's processes, which bear another folder's mark: in the memory, missed when they die, never ended."""
    folder = tmp_path_factory.mktemp("helpers")
    named = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'{}', 0, 0, 0); a = bytearray(100 << 20); time.sleep(60)"
    env = {**os.environ, **marked_environment(folder)}
    engine, other = (
        subprocess.Popen([sys.executable, "-c", named.format(name)], env=env) for name in ("EngineCore", "WorkerDict")
    )
    try:
        wait_until(lambda: {name_of(each) for each in processes_of(folder)} == {"EngineCore", "WorkerDict"})
        seen = f"beat(1); time.sleep(3); os.kill({engine.pid}, 9); time.sleep(60)"
        outcome = watch(run_dir, seen, limits=PATIENT, helpers=folder)
        assert outcome.reason == "lost_worker"
        assert "EngineCore" in outcome.paragraph
        assert outcome.peak_rss_bytes > 200 << 20
        assert other.poll() is None
    finally:
        for each in (engine, other):
            each.kill()
            each.wait()


@pytest.mark.parametrize(("by", "why"), [("SIGKILL", "It was killed"), ("SIGSTOP", "SIGSTOP suspended it")])
def test_the_end_of_what_all_are_forked_from_is_noticed_at_the_next_look(run_dir: Path, by: str, why: str) -> None:
    origin = subprocess.Popen(["sleep", "60"])
    code = f"""
    import signal
    for step in range(3):
        beat(step)
    os.kill({origin.pid}, signal.{by})
    time.sleep(60)
    """
    began = time.monotonic()
    outcome = supervise(
        trainer(code), {}, run_dir, stall_minutes=5, total_steps=4, title="uft", limits=FAST, forked_from=origin.pid
    )
    origin.kill()
    origin.wait()
    assert time.monotonic() - began < 20
    assert (outcome.exit_code, outcome.reason) == (1, "lost_worker")
    assert f"lost the process that all others are forked from (pid {origin.pid}" in outcome.paragraph
    assert why in outcome.paragraph
