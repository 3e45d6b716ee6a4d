"""Workers forked from a warm server: arguments, environment, files and exit as in a process of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from recipes.verl_plugin import warm_client
from recipes.verl_plugin.warm import FIRST, LATER
from recipes.verl_plugin.warm_client import SHARED, command, py_executable, server_pid, shared_server, socket_of
from recipes.watch.processes import marked_environment, name_of, processes_of
from recipes.watch.signs import Limits
from recipes.watch.supervise import supervise
from tests import ROOT

pytestmark = pytest.mark.contract

SCRIPT = """
import json, os, sys, torch
print(json.dumps([sys.argv[1:], os.environ["MINE"], os.getcwd(), __name__, sys.path[0], "ray" in sys.modules]))
print("to stderr", file=sys.stderr)
import atexit
atexit.register(lambda: print("at exit"))
if "wait" in sys.argv:
    import time; print(os.getpid(), flush=True); time.sleep(600)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a script and a running server."""
    # Not pytest's, whose name is too long for a socket.
    place = Path(tempfile.mkdtemp(prefix="uft-", dir="/tmp"))
    (place / "script.py").write_text(SCRIPT)
    quiet = {"PYTHONPATH": str(ROOT), "VLLM_LOGGING_LEVEL": "ERROR", "CUDA_VISIBLE_DEVICES": "-1"}
    with shared_server(place, quiet) as path:
        assert os.environ[SHARED] == path
        yield place
    assert SHARED not in os.environ
    shutil.rmtree(place)


def as_ray_does(script: Path, *arguments: str) -> list[str]:
    """As Ray does it: a shell that execs what py_executable says."""
    return ["bash", "-c", f"exec {py_executable()} {script} {' '.join(arguments)}"]


def test_a_worker_has_its_own_arguments_environment_folder_and_files(folder: Path, tmp_path: Path) -> None:
    env = {**os.environ, "MINE": "own"}
    done = subprocess.run(
        as_ray_does(folder / "script.py", "a", "b"), env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    said, last = done.stdout.splitlines()
    assert said == f'[["a", "b"], "own", "{tmp_path}", "__main__", "{folder}", false]'
    assert last == "at exit"
    assert "to stderr" in done.stderr


SEEN = """
import json, os, random, sys, tempfile
import numpy, torch
drawn = [random.random(), numpy.random.rand(), torch.rand(1).item()]
print(json.dumps([sys.path, tempfile.gettempdir(), drawn]))
"""


def test_a_worker_looks_for_modules_and_temporary_files_where_a_process_of_its_own_would(
    folder: Path, tmp_path: Path
) -> None:
    """And draws its own random numbers."""
    for name in ("seen.py", "sub/seen.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SEEN)
    temporary = tmp_path / ("t" * 60)
    temporary.mkdir()
    of_its_own = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "mine"), str(ROOT)]), "TMPDIR": str(temporary)}
    for safe in ("", "1"):
        env = {**os.environ, **of_its_own, "PYTHONSAFEPATH": safe}
        found = []
        for start in ([sys.executable], command(socket_of(folder)), command(socket_of(folder))):
            for line in ([*start, str(tmp_path / "sub/seen.py")], [*start, "-m", "seen"]):
                if safe and line[-1] == "seen":
                    continue
                done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
                found.append(json.loads(done.stdout))
        kinds = len(found) // 3
        for number, (path, place, drawn) in enumerate(found):
            plain_path, plain_place, plain_drawn = found[number % kinds]
            # Behind these a library that was imported may have added a place of its own.
            assert path[:3] == plain_path[:3]
            assert {*plain_path} <= {*path}
            assert place == plain_place == str(temporary)
            others = [value for at, each in enumerate(found) if at != number for value in each[2]]
            assert not {*drawn} & {*others}
            assert len(plain_drawn) == 3


def test_a_worker_ends_as_a_process_of_its_own_does(folder: Path) -> None:
    ends = {
        "import sys; sys.exit('the reason')": (1, "the reason"),
        "raise KeyboardInterrupt": (-signal.SIGINT, "KeyboardInterrupt"),
        "import sys; sys.excepthook = lambda *_: print('hooked', file=sys.stderr); 1 / 0": (1, "hooked"),
        "import sys; sys.exit(5)": (5, ""),
    }
    for number, (text, (code, said)) in enumerate(ends.items()):
        script = folder / f"end{number}.py"
        script.write_text(text)
        for start in ([sys.executable], command(socket_of(folder))):
            done = subprocess.run([*start, str(script)], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr.strip().splitlines()[-1:]) == (code, [said] if said else [])


ORPHANED = """
import os, subprocess, sys, time
from pathlib import Path
from recipes.verl_plugin.warm_client import command, server_pid, shared_server
with shared_server(Path(sys.argv[1]), {"CUDA_VISIBLE_DEVICES": "-1"}) as path:
    while not Path(path).exists() and sys.argv[2] != "killed at once":
        time.sleep(0.01)
    line = [*command(path), "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    print(server_pid(), int(child.stdout.readline()), flush=True)
    if sys.argv[2] != "over":
        os.kill(os.getpid(), 9)
    child.kill()
"""


@pytest.mark.parametrize("how", ["killed", "killed at once", "over"])
def test_a_server_ends_with_its_parent_and_leaves_nothing(how: str) -> None:
    """Killed with -9: vLLM's engine, a fork, would end with the server, and the run's others wait for it forever."""
    place = Path(tempfile.mkdtemp(prefix="uft-", dir="/tmp"))
    (place / "tmp").mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")}
    env.pop(SHARED, None)
    line = [sys.executable, "-c", ORPHANED, str(place), how]
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=60)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    deadline = time.time() + 20
    while any(map(psutil.pid_exists, pids if how == "killed" else pids[:1])) and time.time() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pids[0])
    if how == "killed at once":
        # Before there is a server a client becomes the worker itself.
        with suppress(ProcessLookupError):
            os.kill(pids[1], signal.SIGKILL)
    assert how != "killed" or not psutil.pid_exists(pids[1])
    if how == "over":
        assert not [each for each in (place / "tmp").iterdir() if "wandb" in each.name]
    shutil.rmtree(place)


def test_the_client_lives_as_long_as_its_worker(folder: Path) -> None:
    client = subprocess.Popen(
        as_ray_does(folder / "script.py", "wait"), env={**os.environ, "MINE": ""}, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    client.stdout.readline()
    worker = psutil.Process(int(client.stdout.readline()))
    assert worker.pid != client.pid
    assert client.poll() is None
    worker.kill()
    assert client.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("by", "title"), [("setproctitle", "VLLM::EngineCore"), ("ray._raylet", "ray::WorkerDict.actor_rollout_update")]
)
def test_a_worker_shows_the_title_it_gives_itself(by: str, title: str, folder: Path) -> None:
    """By its title a run's supervisor knows a dead engine, or actor: Ray's own way would come too late in a fork."""
    (folder / "titled.py").write_text(
        f"import os, time, {by}; {by}.setproctitle({title!r}); print(os.getpid(), flush=True); time.sleep(600)"
    )
    client = subprocess.Popen([*command(socket_of(folder)), str(folder / "titled.py")], stdout=subprocess.PIPE)
    assert client.stdout is not None
    worker = psutil.Process(int(client.stdout.readline()))
    assert name_of(worker) == title
    worker.kill()
    client.wait(10)


def test_workers_have_their_own_runs_mark_and_end_codes(folder: Path, tmp_path: Path) -> None:
    path = socket_of(folder)
    clients = [
        subprocess.Popen(
            [*command(path), str(folder / "script.py"), "wait"],
            env={**os.environ, "MINE": "", **marked_environment(tmp_path / run)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for run in "ab"
    ]
    workers = []
    for client, run in zip(clients, "ab", strict=True):
        assert client.stdout is not None
        client.stdout.readline()
        workers.append(int(client.stdout.readline()))
        assert {each.pid for each in processes_of(tmp_path / run)} == {client.pid, workers[-1]}
    os.kill(workers[0], signal.SIGTERM)
    assert clients[0].wait(10) == -signal.SIGTERM
    done = subprocess.run([*command(path), "-m", "this"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:20]) == (0, "The Zen of Python, b")
    failing = subprocess.run([*command(path), "-m", "no_such_module"], capture_output=True, text=True, check=False)
    assert (failing.returncode, "No module named no_such_module" in failing.stderr) == (1, True)
    os.kill(workers[1], signal.SIGKILL)
    clients[1].wait(10)


def test_without_a_server_the_client_becomes_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARED, str(tmp_path / "nobody"))
    (tmp_path / "script.py").write_text("import sys; print(sys.argv[1:]); sys.exit(3)")
    done = subprocess.run(as_ray_does(tmp_path / "script.py", "alone"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "['alone']\n")


def test_ray_knows_the_field_and_sets_threads_through_the_function_that_is_wrapped() -> None:
    from ray._private import utils
    from ray.runtime_env import RuntimeEnv

    assert RuntimeEnv(py_executable="python").py_executable() == "python"
    assert callable(utils.set_omp_num_threads_if_unset)


def test_the_client_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", warm_client.__file__], capture_output=True, text=True, check=False
    )
    assert "IndexError" in done.stderr, "it got as far as its missing arguments"


SPAWNING = """
import multiprocessing, os, sys
sys.path.insert(0, os.environ["PYTHONPATH"])
from tests.contract import spawned

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=spawned.answer, args=(there,))
    child.start()
    print(here.recv(), child.pid, os.getpid(), flush=True)
    if "terminate" in sys.argv:
        child.terminate()
    else:
        here.send("end")
    child.join(20)
    print("over", child.is_alive(), flush=True)
"""


@pytest.mark.parametrize("word", ["end", "terminate"])
def test_what_a_worker_spawns_is_a_fork_too_with_its_pipes_and_its_parents_word(folder: Path, word: str) -> None:
    (folder / "spawning.py").write_text(SPAWNING)
    shell = f"exec {py_executable()} {folder / 'spawning.py'} {word}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.time()
    done = subprocess.run(["bash", "-c", shell], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr[-2000:]
    said, over = done.stdout.splitlines()
    child, warm, client, parent = said.split()
    assert warm == "True", "torch was there before the child's first import"
    assert len({child, client, parent}) == 3
    assert over == "over False"
    assert time.time() - started < 30
    assert not psutil.pid_exists(int(child))


def test_the_memory_of_what_workers_are_forked_from_counts_with_theirs(folder: Path, tmp_path: Path) -> None:
    (folder / "short.py").write_text("import time; time.sleep(2)")
    origin = server_pid()
    assert origin is not None
    line = [*command(socket_of(folder)), str(folder / "short.py")]
    while not Path(socket_of(folder)).exists():
        time.sleep(0.01)

    def peak(name: str, forked_from: int | None) -> int:
        # So often that the worker is seen too, however late it starts.
        often = Limits(poll_s=0.1, memory_s=0.1)
        run = {"stall_minutes": 1.0, "total_steps": 1, "title": "short", "forked_from": forked_from, "limits": often}
        return supervise(line, {}, tmp_path / name, **run).peak_rss_bytes

    alone, together = peak("alone", None), peak("together", origin)
    assert alone > 100_000_000, "half of what the worker shares with the server, of which it is a fork"
    assert together > alone + 100_000_000, "torch and vLLM are in the server's pages"


def test_the_server_has_imported_all_it_means_to_once_it_had_time(folder: Path) -> None:
    (folder / "seen.py").write_text("import sys; print(*sys.modules)")
    for _ in range(60):
        done = subprocess.run(
            [*command(socket_of(folder)), str(folder / "seen.py")], capture_output=True, text=True, check=False
        )
        if {*FIRST, *LATER} <= {*done.stdout.split()}:
            break
        time.sleep(1)
    assert {*FIRST, *LATER} <= {*done.stdout.split()}
    assert "ray" not in done.stdout.split()
