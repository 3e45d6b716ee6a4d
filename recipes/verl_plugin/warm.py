"""Ray workers forked from a process that has imported torch and vLLM, in the place of ten that import them one by one.

On two cores these imports are most of a start. The server (`python -m recipes.verl_plugin.warm SOCKET`, started by
main.py) makes them while Ray comes up. Ray is told to start workers with warm_client.py (`py_executable`, a field of
its runtime environments), which hands over arguments, environment and open files, and ends when its worker does.

The server must not have imported Ray, which reads a worker's place from the environment as it is loaded; and nothing
that has touched CUDA can be forked, so it is for the CPU alone.
"""

import atexit
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import wrapt

MODULES = ["torch", "transformers", "tensordict", "pandas", "torch.distributed.fsdp", "fastapi", "openai", "vllm"]
"""What most workers import and what does not import Ray."""

_LONGEST_MESSAGE = 1 << 20
_CHECK_SECONDS = 1.0


def main() -> None:
    """Bind, import, serve."""
    parent = os.getppid()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Bound before the imports, so that a client finds it however early it comes, and waits.
    listener.bind(sys.argv[1])
    listener.listen(128)
    for module in MODULES:
        importlib.import_module(module)
    assert "ray" not in sys.modules
    _serve(listener, parent)


def _serve(listener: socket.socket, parent: int) -> None:
    while os.getppid() == parent:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not select.select([listener], [], [], _CHECK_SECONDS)[0]:
            continue
        connection, _ = listener.accept()
        message, files, _, _ = socket.recv_fds(connection, _LONGEST_MESSAGE, 3)
        if not message:
            connection.close()
            continue
        if os.fork() == 0:
            listener.close()
            _become(connection, json.loads(message), files)
        for file in files:
            os.close(file)
        connection.close()


def _become(connection: socket.socket, asked: dict[str, Any], files: list[int]) -> None:
    """Run a script as a process of its own would; never returns. The connection stays open until the end."""
    code = 1
    try:
        connection.send(b"1")
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        sys.argv = asked["arguments"]
        sys.path[0] = str(Path(sys.argv[0]).parent)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        _threads_by_environment()
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _threads_by_environment() -> None:
    """Ray sets OMP_NUM_THREADS when it knows a worker's share of the CPU; torch, imported already, is told as well."""
    import torch

    @wrapt.when_imported("ray._private.utils")
    def _(utils: Any) -> None:
        set_variable = utils.set_omp_num_threads_if_unset

        def told() -> bool:
            done = bool(set_variable())
            if done:
                torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
            return done

        utils.set_omp_num_threads_if_unset = told


if __name__ == "__main__":
    main()
