"""Hand a run to the server of serve.py and end as it does: `python -I -S serve_client.py SOCKET FOLDER [OVERRIDES]`.

Stands where a reinforcement stage's own trainer would be started. Runs with the standard library alone.
"""

import json
import os
import signal
import socket
import sys

SERVE = "UFT_SERVE"
"""Environment variable with the socket of a server that makes the reinforcement stages on the CPU."""

STOPPED = b"143"
"""What the server answers, and the client exits with, when it has stopped a run."""

DIED = b"died"
"""What it answers when the process of the training loop has ended in the middle of a run."""


def serve_command(path: str) -> "list[str]":
    """What stands for Python and `-m recipes.verl_plugin.main` where the server at that socket makes the run."""
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), path]


def main() -> None:
    """Hand over folder, overrides, environment and output; wait for the end."""
    path, arguments = sys.argv[1], sys.argv[2:]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    message = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
    # Room for a long environment in one message.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(message) + 4096)
    try:
        connection.connect(path)
        # The server then stops the run, and says so.
        signal.signal(signal.SIGTERM, lambda *_: connection.shutdown(socket.SHUT_WR))
        socket.send_fds(connection, [message], [1, 2])
    except OSError as error:
        sys.exit(f"no server of runs at {path} ({error.strerror}), where {SERVE} says there is one: unset {SERVE}")
    try:
        said = connection.recv(16)
    except OSError:
        said = b""
    if not said:
        sys.exit(f"the server of runs at {path} died before this run had ended")
    if said == DIED:
        sys.exit("the process of the training loop died in the middle of this run")
    sys.exit(int(said))


if __name__ == "__main__":
    main()
