"""The processes of a run: stopped by a person, left by a kill, told apart from others; its lock."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from recipes.watch.processes import MARK, RunBusyError, end_leftovers, end_processes, hold_run, is_living, processes_of
from recipes.watch.supervise import supervise
from tests import ROOT
from tests.helpers.watch_checks import PRELUDE, wait_until, watch


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert end_processes(processes_of(tmp_path), 0.0) == []


DRIVER = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background, without it
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
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
    ("signum", "exit_code", "word"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGQUIT, 131, "SIGQUIT")],
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


def test_a_child_is_reaped_whenever_it_ends() -> None:
    """Many a child ends while it is looked at, between the question whether it lives and the reaping."""
    for _ in range(50):
        child = subprocess.Popen(["sleep", "60"])
        assert end_processes([psutil.Process(child.pid)], 2.0) == []
        left = psutil.pid_exists(child.pid)
        child.wait()
        assert not left


def test_a_process_lives_until_its_last_thread_has_ended(run_dir: Path) -> None:
    """A large process that is killed, whose other threads are still giving memory back, and one without its first."""
    large = "import threading as t, time as s; x = b'x' * 300_000_000; [t.Thread(target=s.sleep, args=(60,)).start() "
    large += "for _ in range(64)]; print(flush=True); s.sleep(60)"
    headless = "import ctypes, threading as t, time as s; t.Thread(target=s.sleep, args=(60,)).start(); "
    end_thread = {"x86_64": 60, "aarch64": 93}[platform.machine()]
    headless += f"print(flush=True); ctypes.CDLL(None).syscall({end_thread}, 0)"
    environment = {**os.environ, MARK: str(run_dir)}
    for code in (*[large] * 5, headless):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout
            child.stdout.readline()
            process = psutil.Process(child.pid)
            if code == headless:
                wait_until(lambda process=process: process.status() == psutil.STATUS_ZOMBIE)
                assert is_living(process)
                assert [each.pid for each in processes_of(run_dir)] == [child.pid]
            assert end_processes([process], 0.5) == []
            left = psutil.pid_exists(child.pid)
            child.kill()
        assert not left


def test_a_pid_that_is_another_child_s_by_now_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as child:
        handle = psutil.Process(child.pid)
        monkeypatch.setattr(handle, "is_running", lambda: False)
        assert end_processes([handle], 0.1) == []
    assert child.returncode == 3


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
        with hold_run(run_dir):
            pass  # the same process again: a run and the supervisor of its stage
        code = f"from recipes.watch.processes import *; hold_run(Path({str(run_dir)!r})).__enter__()"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        assert re.search(f"RunBusyError: process {os.getpid()} .* choose another --out", other.stderr)
    (run_dir / "run.lock").write_text(json.dumps(note))
    with hold_run(run_dir):
        pass
    (run_dir / "run.lock").write_text("torn")
    with hold_run(run_dir):
        pass
