"""Submits a run to the server in serve.py and exits like it: `python -I -S serve_client.py SOCKET FOLDER [OVERRIDES]`.

Started in place of a reinforcement stage's own trainer. Uses only the standard library.
"""

import json
import os
import signal
import socket
import sys

SERVE = "UFT_SERVE"
"""Environment variable with the socket of a server that runs the reinforcement stages on the CPU."""

STOPPED = b"143"
"""The server's answer, and the client's exit code, when the server has stopped a run."""

DIED = b"died"
"""The server's answer when the process of the training loop has died during a run."""


def serve_command(path: str) -> "list[str]":
    """Replaces Python and `-m recipes.verl_plugin.main` in a command if the server at this socket executes the run."""
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), path]


def main() -> None:
    """Send folder, overrides, environment and output files; wait for the end."""
    path, arguments = sys.argv[1], sys.argv[2:]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    message = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
    # Room for a long environment in one message.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(message) + 4096)
    try:
        connection.connect(path)
        # The server then stops the run, and answers so.
        signal.signal(signal.SIGTERM, lambda *_: connection.shutdown(socket.SHUT_WR))
        socket.send_fds(connection, [message], [1, 2])
    except OSError as error:
        sys.exit(f"{SERVE} names a run server at {path}, but there is none ({error.strerror}): unset {SERVE}")
    try:
        answer = connection.recv(16)
    except OSError:
        answer = b""
    if not answer:
        sys.exit(f"the run server at {path} died before this run ended")
    if answer == DIED:
        sys.exit("the process of the training loop died during this run")
    sys.exit(int(answer))


if __name__ == "__main__":
    main()
