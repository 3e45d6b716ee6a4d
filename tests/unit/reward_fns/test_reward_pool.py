"""The reward pool: limits that hold whatever the verifier does, workers replaced, answers remembered."""

import os
import signal
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward_fns.pool import Pool

VERIFIERS = """
    import os, signal, subprocess, sys, time

    def double(number): return 2 * number
    def pid(_=None): return os.getpid()
    def nap(_=None):
        time.sleep(0.3)
        return os.getpid()
    def busy(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end: pass
    def spin(_=None):
        while True: pass
    def c_hang(_=None): return 10 ** (10 ** 9)
    def swallow(_=None):
        signal.signal(signal.SIGALRM, lambda *_: None)
        while True:
            try: time.sleep(60)
            except BaseException: pass
    def greedy(_=None): return len([bytearray(10**6) for _ in range(10**6)])
    def raises(_=None): raise KeyError("gold")
    def leaves(_=None): os._exit(3)
    def prints(_=None):
        print("noise")
        sys.stdout.flush()
        os.write(1, b"more noise\\n")
        return "quiet"
    def unserialisable(_=None): return {1, 2}
    def nested(depth): return nested(depth + 1)
    def child(_=None):
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(os.environ["CHILD_FILE"], "w").write(str(started.pid))
        time.sleep(600)
"""


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    (tmp_path / "verifiers_of_this_test.py").write_text(textwrap.dedent(VERIFIERS))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CHILD_FILE", str(tmp_path / "child"))
    with Pool(workers=2, seconds=0.5, memory_mb=256) as opened:
        yield opened


def call(pool: Pool, name: str, *args: object):
    return pool.call(f"verifiers_of_this_test:{name}", *(args or (None,)))


def test_a_value_comes_back(pool: Pool) -> None:
    assert call(pool, "double", 21).value == 42


@pytest.mark.parametrize("name", ["spin", "c_hang"])
def test_a_hang_is_ended_and_the_next_call_is_served(pool: Pool, name: str) -> None:
    call(pool, "double", 1)
    started = time.monotonic()
    outcome = call(pool, name)
    assert outcome.status == "timeout"
    assert time.monotonic() - started < 2.0
    assert call(pool, "double", 2).value == 4


def test_a_call_may_have_a_limit_of_its_own(pool: Pool) -> None:
    call(pool, "double", 1)
    with Pool(workers=1, seconds=60) as patient:
        patient.call("verifiers_of_this_test:double", 1)
        started = time.monotonic()
        assert patient.call("verifiers_of_this_test:spin", None, seconds=0.3).status == "timeout"
        assert time.monotonic() - started < 2.0


def test_computing_is_limited_apart_from_waiting(pool: Pool) -> None:
    with Pool(workers=1, seconds=60) as patient:
        patient.call("verifiers_of_this_test:double", 1)
        outcome = patient.call("verifiers_of_this_test:spin", None, cpu_seconds=0.2)
        assert (outcome.status, outcome.message) == ("timeout", "no verdict within 0.2 s of computing")
        # Sleeping longer than that is no computing, and the limit of one call does not outlive it.
        assert patient.call("verifiers_of_this_test:nap", 1, cpu_seconds=0.2).status == "ok"
        assert patient.call("verifiers_of_this_test:busy", 0.4).status == "ok"


def test_a_killed_worker_s_successor_imports_while_others_serve(pool: Pool) -> None:
    pids = {outcome.value for outcome in pool.map("verifiers_of_this_test:nap", [(n,) for n in range(2)])}
    assert len(pids) == 2
    assert call(pool, "spin").status == "timeout"
    assert pool.replaced == 1
    assert call(pool, "pid", 1).value in pids
    assert call(pool, "spin", 1).status == "timeout"
    assert call(pool, "pid", 2).value not in pids


def test_a_worker_that_somebody_ended_is_replaced(pool: Pool) -> None:
    os.kill(call(pool, "pid").value, signal.SIGKILL)
    pool._idle[0].process.wait()
    assert call(pool, "double", 7).value == 14


def test_a_verifier_that_ignores_the_alarm_is_killed(pool: Pool) -> None:
    call(pool, "double", 1)
    started = time.monotonic()
    # A function that a worker has not loaded is allowed the time of an import; this one's module is loaded.
    pool._idle[0].loaded.add("verifiers_of_this_test:swallow")
    assert call(pool, "swallow").status == "timeout"
    assert time.monotonic() - started < 4.0


def test_memory_is_limited(pool: Pool) -> None:
    outcome = call(pool, "greedy")
    assert outcome.status in ("memory", "timeout")
    with Pool(workers=1, seconds=20, memory_mb=256) as patient:
        assert call(patient, "greedy").status == "memory"
        assert call(patient, "double", 3).value == 6
        assert patient.replaced == 1


def test_an_exception_is_reported_not_raised(pool: Pool) -> None:
    outcome = call(pool, "raises")
    assert outcome.status == "error"
    assert outcome.message == "KeyError: 'gold'"
    assert call(pool, "nested", 0).message.startswith("RecursionError")


def test_a_dead_process_is_reported_and_replaced(pool: Pool) -> None:
    outcome = call(pool, "leaves")
    assert outcome.status == "error"
    assert "exit code 3" in outcome.message
    assert call(pool, "double", 5).value == 10


def test_prints_do_not_garble_replies(pool: Pool) -> None:
    assert call(pool, "prints").value == "quiet"
    assert call(pool, "double", 4).value == 8


def test_values_and_arguments_that_json_cannot_hold_are_errors(pool: Pool) -> None:
    assert "JSON" in call(pool, "unserialisable").message
    assert "JSON" in call(pool, "double", {1}).message


def test_unknown_functions_are_errors(pool: Pool) -> None:
    assert "no_such" in call(pool, "no_such").message
    assert pool.call("no.such.module:f", 1).status == "error"


def test_a_killed_verifier_takes_its_children_along(pool: Pool, tmp_path: Path) -> None:
    call(pool, "child")
    child = int((tmp_path / "child").read_text())
    for _ in range(50):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail(f"process {child} outlived its verifier")


def test_equal_calls_are_answered_from_the_cache(pool: Pool) -> None:
    first = call(pool, "pid", "a")
    again = call(pool, "pid", "a")
    assert again.value == first.value
    assert again.seconds == 0.0
    started = time.monotonic()
    call(pool, "spin")
    spun = time.monotonic() - started
    assert call(pool, "spin").seconds == 0.0
    assert spun >= 0.4


def test_the_cache_forgets_the_oldest(tmp_path: Path, pool: Pool) -> None:
    with Pool(workers=1, seconds=5, cache=2) as small:
        for number in (1, 2, 3):
            call(small, "double", number)
        assert call(small, "double", 3).seconds == 0.0
        assert call(small, "double", 1).seconds > 0.0


def test_a_batch_keeps_its_order_around_a_hang(pool: Pool) -> None:
    calls = [("verifiers_of_this_test:double", (number,)) for number in range(20)]
    outcomes = pool.map(calls[0][0], [args for _, args in calls])
    assert [outcome.value for outcome in outcomes] == [2 * number for number in range(20)]


def test_threads_share_the_workers(pool: Pool) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(call(pool, "double", n).value)) for n in range(100, 116)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [2 * n for n in range(100, 116)]


def test_workers_end_with_the_pool(pool: Pool) -> None:
    pid = call(pool, "pid").value
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="closed"):
        call(pool, "double", 99)


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="workers >= 1"):
        Pool(workers=0)
