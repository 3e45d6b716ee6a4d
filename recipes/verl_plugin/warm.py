"""Forks a run's stages and Ray's workers from one process that has imported torch and vLLM, instead of importing them
in each of ten processes.

On two cores these imports are most of a start. The server (`python -m recipes.verl_plugin.warm SOCKET PARENT`, PARENT a
pid) imports them while a run is prepared and Ray starts. The run's stages are forks of it; Ray starts workers with
warm_client.py (`py_executable`, a field of its runtime environments), which passes arguments, environment and open
files, and exits when its worker does.

A forked worker's own children by multiprocessing's spawn (vLLM's engine core) are also forked from the server.

The server must not have imported Ray, which reads a worker's identity from the environment when it is loaded; and a
process that has initialised CUDA cannot be forked, so this is for the CPU only.
"""

import atexit
import ctypes
import fcntl
import importlib
import json
import multiprocessing
import os
import random
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import setproctitle
import wrapt

from recipes.verl_plugin.warm_client import MOST_FILES, write_spawn
from recipes.watch.processes import MARK

FIRST = ["torch", "transformers", "tensordict", "pandas", "torch.distributed.fsdp", "accelerate", "datasets", "hydra"]
"""Imported by every process of a run, and without importing Ray."""

LATER = [
    *("fastapi", "peft", "openai", "vllm", "vllm.entrypoints.cli.serve", "vllm.entrypoints.llm"),
    # For verl's workers and its patches of vLLM.
    *("trl.trainer.base_trainer", "vllm.model_executor.models.qwen3_next", "vllm.v1.worker.cpu_worker"),
]
"""Imported by only some processes; the server imports them while idle. vLLM tries to import Ray, which only its Ray
executors need, and continues without."""

_LONGEST_MESSAGE = 1 << 20
_CHECK_SECONDS = 1.0


def main() -> None:
    """Bind, import, serve."""
    parent = int(sys.argv[2])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Bound before the imports, so that even an early client can connect and wait.
    listener.bind(sys.argv[1])
    listener.listen(128)
    write_spawn(sys.argv[1])
    _import(FIRST)
    # setproctitle locates the arguments in memory through the environment, which a worker replaces. In the worker it
    # would be too late, and vLLM's engine would have no title by which the run's supervisor recognises it.
    setproctitle.getproctitle()
    _serve(listener, parent)


@wrapt.when_imported("ray._raylet")
def _titles(ray: types.ModuleType) -> None:
    """Ray locates the arguments in memory like setproctitle, and too late in a worker: without this, actors would not
    have the titles by which the run's supervisor notices their death."""
    ray.setproctitle = setproctitle.setproctitle  # type: ignore[attr-defined]


def _import(modules: list[str]) -> None:
    sys.modules["ray"] = None  # type: ignore[assignment]
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        del sys.modules["ray"]
    assert not any(name.startswith("ray.") for name in sys.modules)


def _serve(listener: socket.socket, parent: int) -> None:
    clients: dict[int, socket.socket] = {}
    ended, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl-C in a terminal, where several runs may share a server: it ends with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Through sys.exit, so that the imported libraries' exit handlers run: some made temporary folders.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        _answer(listener, (ended, woken), clients, parent)
    finally:
        # Nothing reads the pipe any more while the server ends.
        signal.set_wakeup_fd(-1)
    _end(clients)


def _answer(
    listener: socket.socket, pair: tuple[socket.socket, socket.socket], clients: dict[int, socket.socket], parent: int
) -> None:
    later = list(LATER)
    ended, woken = pair
    while os.getppid() == parent:
        _report_exits(clients)
        ready = select.select([listener, ended], [], [], 0 if later else _CHECK_SECONDS)[0]
        if not ready and later:
            # The process that needs the module reports the error; existing workers need their server.
            with suppress(Exception):
                _import([later.pop(0)])
            # Some of them run an event loop, which resets it.
            signal.set_wakeup_fd(woken.fileno())
        if ended in ready:
            ended.recv(4096)
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        message, files, _, _ = socket.recv_fds(connection, _LONGEST_MESSAGE, MOST_FILES)
        if not message:
            connection.close()
            continue
        if (child := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            for other in (listener, *pair, *clients.values()):
                other.close()
            _become(connection, json.loads(message), files)
        for file in files:
            os.close(file)
        clients[child] = connection


def _end(children: Iterable[int]) -> None:
    """End all forks: without the server a run cannot start further processes, and vLLM's engine ends with it, for which
    the others would wait."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, number)
        time.sleep(_CHECK_SECONDS)


def _report_exits(clients: dict[int, socket.socket]) -> None:
    """Send the exit codes of ended workers to their clients."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            with suppress(OSError), clients.pop(found[0]) as client:
                client.send(str(os.waitstatus_to_exitcode(found[1])).encode())


def _become(connection: socket.socket, asked: dict[str, Any], files: list[int]) -> None:
    """Run a script, a module after -m or code after -c, like a new process; never returns."""
    code, interrupted = 1, False
    try:
        connection.send(b"1")
        # Move descriptors out of the range of numbers that the files are to have.
        free = 1 + max([*files, *asked["files"], connection.fileno()])
        connection = socket.socket(fileno=_moved(connection.detach(), free))
        moved = [_moved(file, free) for file in files]
        for number, file in zip(asked["files"], moved, strict=True):
            os.dup2(file, number)
            os.close(file)
        before = _python_path()
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        places = _python_path()
        sys.path[:] = [*places, *(place for place in sys.path if place not in {*before, *places})]
        tempfile.tempdir = None
        _mark(asked["environment"].get(MARK, ""))
        for number, usual in ((signal.SIGCHLD, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_DFL)):
            signal.signal(number, usual)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _reseed()
        _threads_by_environment()
        multiprocessing.set_executable(asked["spawn"])
        _run(asked["arguments"], connection)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        interrupted = isinstance(error, KeyboardInterrupt)
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        if interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(code)


def _python_path() -> list[str]:
    return [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def _reseed() -> None:
    """Give each worker its own random state instead of the server's, unless it sets a seed."""
    import numpy
    import torch

    random.seed()
    numpy.random.seed()
    torch.seed()


def _moved(file: int, at_least: int) -> int:
    moved = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, at_least)
    os.close(file)
    return moved


def _mark(run_dir: str) -> None:
    """Overwrite the server's mark with the run's in the memory that /proc shows, where the supervisor looks for it."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    before = ctypes.string_at(start, end - start)
    at = before.find(f"{MARK}=".encode())
    if at < 0:
        return
    room = before.index(b"\0", at) - at
    mark = f"{MARK}={run_dir}".encode()
    if len(mark) > room:
        raise OSError(f"the name of the run's folder is longer than {room - len(MARK) - 1} bytes: {run_dir}")
    ctypes.memmove(start + at, mark.ljust(room, b"\0"), room)


def _run(arguments: list[str], connection: socket.socket) -> None:
    if arguments[0] == "-m":
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        sys.argv = arguments[1:]
        _first_on_path(os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    if "-c" not in arguments:
        sys.argv = arguments
        _first_on_path(str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    # multiprocessing's spawn: interpreter options, the code, its arguments.
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    at = arguments.index("-c")
    sys.argv = ["-c", *arguments[at + 2 :]]
    _first_on_path("")
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(arguments[at + 1], main.__dict__)


def _first_on_path(place: str) -> None:
    if not os.environ.get("PYTHONSAFEPATH"):
        sys.path.insert(0, place)


def _end_with(connection: socket.socket) -> None:
    """End this worker when its client ends, which is what the parent terminates."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _threads_by_environment() -> None:
    """Pass OMP_NUM_THREADS to the already imported torch; Ray may set it later, once it knows a worker's share."""
    import torch

    if given := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(given))

    @wrapt.when_imported("ray._private.utils")
    def _(utils: Any) -> None:
        set_variable = utils.set_omp_num_threads_if_unset

        def set_both() -> bool:
            done = bool(set_variable())
            if done:
                torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
            return done

        utils.set_omp_num_threads_if_unset = set_both


if __name__ == "__main__":
    main()
