"""The server of runs and its client, with a stand-in for the system behind them: who makes a run, and how it ends."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from recipes.verl_plugin.renewal import in_the_way
from recipes.verl_plugin.serve import serving
from recipes.verl_plugin.serve_client import serve_command
from recipes.verl_plugin.warm_client import SHARED
from recipes.watch.processes import is_living, processes_of
from recipes.watch.scratch import short_folder

# Found in the place of the real one: it lies where the client works. A run's folder says what becomes of it.
STAND_IN = """
import json, os, signal, socket, sys, time
control = socket.socket(fileno=os.dup(0))
while True:
    message, files, _, _ = socket.recv_fds(control, 1 << 20, 2)
    if not message:
        break
    run, *overrides = json.loads(message)["arguments"]
    if run == "other" and os.path.exists("served"):
        os.remove("served")
        control.send(b"other")
        continue
    open("served", "w").close()
    if run == "die before":
        os.kill(os.getpid(), signal.SIGKILL)
    control.send(b"mine")
    os.write(files[0], f"{os.getpid()} {run} {overrides} {os.environ['UFT_RUN_DIR']}\\n".encode())
    if run == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while run == "hang":
        time.sleep(1)
    control.send(b"7" if run == "fail" else b"0")
    if run == "die after":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """The folder that clients work in."""
    package = tmp_path / "recipes/verl_plugin"
    package.mkdir(parents=True)
    (tmp_path / "recipes/__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "served.py").write_text(STAND_IN)
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of a server."""
    with short_folder() as folder:
        monkeypatch.setenv(SHARED, str(folder / "no warm server"))
        with serving(folder) as path:
            yield path
        assert processes_of(folder) == []
        assert not list(folder.glob("[0-9]*")), "what a system keeps in its folder goes with it"


def begin(server: Path, where: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A client that writes to the file `said`, as a run's own front lets it: what a system holds open is no pipe."""
    with (where / "said").open("wb") as said:
        return subprocess.Popen(
            [*serve_command(str(server)), *arguments], cwd=where, stdout=said, stderr=subprocess.STDOUT
        )


def made(server: Path, where: Path, *arguments: str) -> tuple[int, str, str]:
    """(exit code, process that made the run, what else was said)."""
    code = begin(server, where, *arguments).wait(timeout=30)
    pid, _, rest = (where / "said").read_text().strip().partition(" ")
    return code, pid, rest


def under_way(where: Path) -> int:
    """The process that makes the run, once it does."""
    limit = time.monotonic() + 30
    while not (said := (where / "said").read_text()).endswith("\n"):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return int(said.split()[0])


def test_one_system_makes_run_after_run_and_their_output_is_the_clients(server: Path, where: Path) -> None:
    code, pid, said = made(server, where, "one", "trainer.x=1", "b c")
    assert (code, said) == (0, f"one ['trainer.x=1', 'b c'] {server.parent}")
    assert made(server, where, "two")[:2] == (0, pid)


@pytest.mark.parametrize(("run", "code"), [("other", 0), ("fail", 7), ("die", 1)])
def test_another_system_follows_one_that_is_started_from_something_else_or_has_failed(
    server: Path, where: Path, run: str, code: int
) -> None:
    first = made(server, where, "one")[1]
    seen = made(server, where, run)
    assert seen[0] == code
    assert ("training loop died" in seen[2]) == (run == "die")
    last = made(server, where, "one")
    assert last[0] == 0
    assert last[1] != first
    assert (seen[1] == last[1]) == (run == "other")


def test_a_system_that_died_while_it_waited_is_replaced_without_a_word(server: Path, where: Path) -> None:
    first = made(server, where, "die after")
    second = made(server, where, "one")
    assert (first[0], second[0]) == (0, 0)
    assert first[1] != second[1]
    # One that dies over its start is not tried forever.
    assert made(server, where, "die before")[0] == 1


def test_a_client_that_is_ended_takes_its_run_with_it(server: Path, where: Path) -> None:
    client = begin(server, where, "hang")
    pid = under_way(where)
    client.terminate()
    assert client.wait(timeout=30) == 143
    # The answer comes after the end.
    assert not psutil.pid_exists(pid)
    killed = begin(server, where, "hang")
    pid = under_way(where)
    killed.kill()
    killed.wait()
    assert made(server, where, "one")[0] == 0
    assert not psutil.pid_exists(pid)


def test_a_server_that_dies_or_is_not_there_is_named(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with short_folder() as folder:
        code, pid, said = made(folder / "serve", where, "one")
        assert code == 1
        assert "unset UFT_SERVE" in f"{pid} {said}"
        monkeypatch.setenv(SHARED, str(folder / "no warm server"))
        with serving(folder) as path:
            client = begin(path, where, "hang")
            under_way(where)
            children = filter(is_living, psutil.Process().children())
            next(each for each in children if "recipes.verl_plugin.serve" in each.cmdline()).kill()
            assert client.wait(timeout=30) == 1
            assert "died before this run ended" in (where / "said").read_text()
        assert processes_of(folder) == []


def test_an_engine_for_long_sequences_does_for_short_ones_and_all_else_must_be_the_same() -> None:
    up = {
        "longest": 384,
        "rollout": {"dtype": "float32", "max_num_seqs": 8},
        "reference": True,
        "files": {"model": (1, 1), "mine.py": (2, 2)},
    }
    assert in_the_way(up, up) == []
    assert in_the_way(up, {**up, "longest": 320}) == []
    assert in_the_way(up, {**up, "longest": 385}) == ["longest"]
    assert in_the_way(up, {**up, "files": {"model": (1, 1), "yours.py": (3, 3)}}) == []
    assert in_the_way(up, {**up, "files": {"model": (1, 2), "mine.py": (1, 2)}}) == ["files.mine.py", "files.model"]
    changed = {**up, "rollout": {"dtype": "bfloat16"}, "reference": False}
    assert in_the_way(up, changed) == ["reference", "rollout.dtype", "rollout.max_num_seqs"]
