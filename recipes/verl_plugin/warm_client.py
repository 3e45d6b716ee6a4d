"""Ask the server of warm.py for a worker: `python -I -S warm_client.py SOCKET SCRIPT ARGUMENTS...`.

Runs with the standard library alone, in milliseconds. Without a server it becomes the worker itself.
"""

import json
import os
import shlex
import socket
import sys

MOST_FILES = 64
"""Open files that a worker can be handed."""


def socket_of(folder: "os.PathLike[str]") -> str:
    """Where the server of a run listens, in Ray's folder."""
    return os.path.join(folder, "warm")


def py_executable(folder: "os.PathLike[str]") -> str:
    """What Ray starts the workers of that run with."""
    words = [sys.executable, "-I", "-S", os.path.abspath(__file__), socket_of(folder)]
    return " ".join(shlex.quote(word) for word in words)


def spawn_of(path: str) -> str:
    """The executable that multiprocessing's spawn is given for Python's, of the server at that socket."""
    return f"{path}.spawn"


def write_spawn(path: str) -> None:
    """Write that executable: a script, as spawn takes one file and its own arguments."""
    script = spawn_of(path)
    words = [sys.executable, "-I", "-S", os.path.abspath(__file__), path]
    with open(script, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {" ".join(shlex.quote(word) for word in words)} "$@"\n')
    os.chmod(script, 0o700)


def start_server(run: str) -> None:
    """Start the server of a run, if its configuration (RUN/verl.yaml) tells Ray to ask one for workers."""
    import subprocess

    import yaml

    with open(os.path.join(run, "verl.yaml"), encoding="utf-8") as file:
        ray_init = yaml.safe_load(file)["ray_kwargs"]["ray_init"]
    if "py_executable" in ray_init.get("runtime_env", {}):
        where = socket_of(ray_init["_temp_dir"])
        subprocess.Popen([sys.executable, "-m", "recipes.verl_plugin.warm", where], stdin=subprocess.DEVNULL)


def _open_files(but: int) -> "list[int]":
    found = []
    for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        try:
            os.fstat(number)
        except OSError:
            continue  # the listing's own
        if number != but:
            found.append(number)
    return found[:MOST_FILES]


def main() -> None:
    """Hand over what a process has, and wait for the worker to end."""
    path, arguments = sys.argv[1], sys.argv[2:]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
        # A worker of Ray's has its three; a process that multiprocessing spawns has the pipes it was told of besides.
        files = _open_files(connection.fileno()) if "-c" in arguments else [0, 1, 2]
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
        # No server, or one that died over its imports: it would have said why in the run's log.
        os.execv(sys.executable, [sys.executable, *arguments])
    # Nothing more is said; this ends when the worker does.
    connection.recv(1)


if __name__ == "__main__":
    main()
