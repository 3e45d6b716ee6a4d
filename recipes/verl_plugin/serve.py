"""A server for reinforcement runs on the CPU: one start of Ray, trainer and engine serves several runs, one at a time.

`python -m recipes.verl_plugin.serve SOCKET` accepts runs from serve_client.py, which a run's front end starts instead
of a trainer (recipes/run/stages.py). It passes each to the running system (served.py) if that was started from the same
settings; otherwise, and after a run that failed or was stopped, it ends the system and starts a new one. The server
itself imports nothing heavy and outlives every system.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from recipes.common.loopback import alone
from recipes.verl_plugin.environment import CPU, python_path
from recipes.verl_plugin.serve_client import DIED, STOPPED
from recipes.verl_plugin.warm_client import SHARED, shared_server
from recipes.verl_plugin.warm_client import command as warm_command
from recipes.watch.processes import end_processes, marked_environment, processes_of
from recipes.watch.scratch import caches

LONGEST_MESSAGE = 1 << 20
MINE, OTHER = b"mine", b"other"
"""A system's answer to a request: it runs it, or it was started from different settings."""

_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 2.0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """A server for all runs with UFT_SERVE = the socket this yields, in `folder` (with a short name, for it alone).

    All its processes end with the block.
    """
    path = folder / "serve"
    server = subprocess.Popen(
        [sys.executable, "-m", "recipes.verl_plugin.serve", str(path)],
        env={**os.environ, **python_path()},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not path.exists() and server.poll() is None:
            select.select([], [], [], 0.05)
        yield path
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10 * _GRACE_SECONDS)
        server.kill()
        server.wait()
        end_processes(processes_of(folder), _GRACE_SECONDS)


def main() -> None:
    """Bind, serve until SIGTERM or the parent's end, leave nothing behind."""
    path, parent = Path(sys.argv[1]), os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Ctrl-C in a terminal: the process that started the server ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Under another name until it listens, so that clients can connect as soon as the socket exists.
    new = path.with_suffix(".new")
    listener.bind(str(new))
    listener.listen(128)
    new.rename(path)
    server = _Server(path.parent, parent)
    with contextlib.ExitStack() as stack:
        stack.callback(server.end_system)
        if SHARED not in os.environ:
            stack.enter_context(shared_server(path.parent, {**CPU, **python_path()}))
        while server.has_parent():
            if select.select([listener], [], [], _LOOK_SECONDS)[0]:
                client, _ = listener.accept()
                with client:
                    server.make_run(client)


class _Server:
    """Manages the running system, if there is one, and relays between it and the client of a run."""

    def __init__(self, folder: Path, parent: int) -> None:
        self.folder, self.parent = folder, parent
        self.system: socket.socket | None = None
        self.numbers = count(1)

    def has_parent(self) -> bool:
        return os.getppid() == self.parent

    def make_run(self, client: socket.socket) -> None:
        """Process one run from start to end, and send the client its exit code."""
        message, files, _, _ = socket.recv_fds(client, LONGEST_MESSAGE, 2)
        if len(files) != 2:
            return
        try:
            answer = self._ask(client, message, files) if self.system else OTHER
            # An empty answer: it died while waiting for a run.
            if answer in (OTHER, b""):
                self.end_system()
                self.system = self._start(message, files)
                answer = self._ask(client, message, files)
            if answer == MINE:
                answer = self._next_answer(client)
        finally:
            for file in files:
                os.close(file)
        if answer != b"0":
            self.end_system()
        with contextlib.suppress(OSError):
            client.send(answer if answer.isdigit() else DIED)

    def _start(self, message: bytes, files: list[int]) -> socket.socket:
        asked = json.loads(message)
        place = self.folder / str(next(self.numbers))
        place.mkdir()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**asked["environment"], **marked_environment(self.folder)}
        # The run's own TMPDIR may be removed when the run ends.
        environment |= {"TMPDIR": str(place)} if "TMPDIR" in environment else {}
        environment |= alone(place) | caches(place)
        subprocess.Popen(
            [*warm_command(os.environ[SHARED]), "-m", "recipes.verl_plugin.served", str(place)],
            env=environment,
            cwd=asked["folder"],
            stdin=theirs.fileno(),
            stdout=files[0],
            stderr=files[1],
            start_new_session=True,
        )
        theirs.close()
        return ours

    def _ask(self, client: socket.socket, message: bytes, files: list[int]) -> bytes:
        assert self.system is not None
        self.system.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(message) + 4096)
        try:
            socket.send_fds(self.system, [message], files)
        except OSError:
            return b""
        return self._next_answer(client)

    def _next_answer(self, client: socket.socket) -> bytes:
        """The system's next message; STOPPED if the client or the server's parent ends first."""
        assert self.system is not None
        while self.has_parent():
            ready = select.select([self.system, client], [], [], _LOOK_SECONDS)[0]
            if client in ready:
                return STOPPED
            if ready:
                with contextlib.suppress(OSError):
                    return self.system.recv(16)
                return b""
        return STOPPED

    def end_system(self) -> None:
        """End every process of the running system."""
        if self.system is None:
            return
        self.system.close()
        self.system = None
        end_processes(processes_of(self.folder), _GRACE_SECONDS)
        for place in self.folder.glob("[0-9]*"):
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
