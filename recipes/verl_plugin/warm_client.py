"""Requests a worker from warm.py's server: `python -I -S warm_client.py SOCKET (SCRIPT | -m MODULE | -c CODE) ...`.

Uses only the standard library, starts in milliseconds, and exits like the worker. Without a server it becomes the
worker itself.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import sys

SHARED = "UFT_WARM"
"""Environment variable with the socket of the server: a command's own, or one that runs and sweeps share."""

MOST_FILES = 64
"""Maximal number of open files passed to a worker."""


_END_SECONDS = 5.0


def socket_of(folder: "os.PathLike[str]") -> str:
    """The socket of a server with this folder."""
    return os.path.join(folder, "warm")


def command(path: str) -> "list[str]":
    """Replaces Python in a command whose process is to be forked from the server at this socket."""
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), path]


def server_pid() -> "int | None":
    """The pid of the process that workers are forked from, if there is one."""
    try:
        with open(f"{os.environ[SHARED]}.pid", encoding="utf-8") as file:
            return int(file.read())
    except (KeyError, OSError, ValueError):
        return None


def py_executable() -> str:
    """The command with which Ray starts workers: the client if there is a server, else Python."""
    words = command(os.environ[SHARED]) if SHARED in os.environ else [sys.executable]
    return " ".join(shlex.quote(word) for word in words)


def spawn_of(path: str) -> str:
    """The executable that replaces Python in multiprocessing's spawn, for the server at this socket."""
    return f"{path}.spawn"


def write_spawn(path: str) -> None:
    """Write that executable: a script, since spawn takes a single file plus its own arguments."""
    script = spawn_of(path)
    words = command(path)
    with open(script, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {" ".join(shlex.quote(word) for word in words)} "$@"\n')
    os.chmod(script, 0o700)


@contextlib.contextmanager
def shared_server(folder: "os.PathLike[str]", environment: "dict[str, str]"):  # type: ignore[no-untyped-def]
    """A server for all stages and runs started within the block, with its socket in `folder`.

    Args:
        environment: merged into this process's; libraries read it when imported.
    """
    import subprocess

    from recipes.watch.signals import undisturbed

    path = socket_of(folder)
    # Room for the marks of runs (warm.py), which identify a run's processes; a stage's output is read as it runs.
    marks = {"UFT_RUN_DIR": "." * 4096, "SPT_NOENV": "1", "PYTHONUNBUFFERED": "1"}
    server, before = None, os.environ.get(SHARED)
    try:
        with undisturbed():
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", "recipes.verl_plugin.warm", path, str(os.getpid())],
                env={**os.environ, **environment, **marks},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        with open(f"{path}.pid", "w", encoding="utf-8") as file:
            file.write(str(server.pid))
        os.environ[SHARED] = path
        yield path
    finally:
        os.environ.pop(SHARED, None) if before is None else os.environ.update({SHARED: before})
        if server is not None:
            with undisturbed():
                server.terminate()
                try:
                    server.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def _open_files(but: int) -> "list[int]":
    found = []
    for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        try:
            os.fstat(number)
        except OSError:
            continue  # the descriptor of the listing itself
        if number != but:
            found.append(number)
    return found[:MOST_FILES]


def main() -> None:
    """Send this process's arguments, environment and files, and wait for the worker to end."""
    path, arguments = sys.argv[1], sys.argv[2:]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
        # A Ray worker has only the standard three; one spawned by multiprocessing also has the pipes it was given.
        files = _open_files(connection.fileno()) if "-c" in arguments and arguments[0] != "-m" else [0, 1, 2]
        asked = {
            "arguments": arguments,
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "files": files,
            "spawn": spawn_of(path),
        }
        message = json.dumps(asked).encode()
        # Room for a long environment in one message.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(message) + 4096)
        socket.send_fds(connection, [message], files)
        taken = connection.recv(1)
    except OSError:
        taken = b""
    if not taken:
        # No server, or one that died during its imports: in this process the error reaches the run's log.
        os.execv(sys.executable, [sys.executable, *arguments])
    answer = connection.recv(16)
    code = int(answer) if answer else 1
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
