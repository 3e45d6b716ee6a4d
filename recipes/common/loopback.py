"""Keeps a single-machine run private: Ray, torch and vLLM listen on loopback, and Ray requires a token that only the
run's user can read. Imported by every process that may open a process group."""

import functools
import os
import secrets
import socket
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wrapt

HOST = "127.0.0.1"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"

ALONE = {
    # Makes Ray use loopback instead of the machine's address, for the node and all of its servers.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "VLLM_HOST_IP": HOST,
    # torchrun's first process then hosts the rendezvous store, through `on_its_host`.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def alone(folder: Path) -> dict[str, str]:
    """Environment of a run with its own Ray, whose token is written into `folder`.

    By default Ray keeps its token in the home folder, which may not be writable.
    """
    token = folder / "ray_token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32), encoding="ascii")
    # Interfaces that the user has set are kept.
    interfaces = {name: os.environ.get(name, "lo") for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    return {**ALONE, **interfaces, TOKEN_PATH: str(token)}


def side_by_side(processes: int) -> list[str]:
    """Python arguments to start that many processes with torchrun on this machine. They rendezvous through a new file
    in the temporary folder; torchrun's default is a server on all interfaces."""
    found = ["--nnodes=1", f"--nproc_per_node={processes}", "--rdzv-backend=c10d", "--rdzv-conf=store_type=file"]
    return ["-m", "torch.distributed.run", *found, f"--local-addr={HOST}"]


def on_its_host(store: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap torch's TCPStore, whose server listens on all interfaces regardless of host, to listen on loopback when that
    is the host."""

    @functools.wraps(store)
    def made(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("is_master") and kwargs.get("host_name") == HOST and kwargs.get("port"):
            listener = socket.create_server((HOST, kwargs["port"]), backlog=2048)
            kwargs["master_listen_fd"] = listener.detach()
        return store(*args, **kwargs)

    return made


@wrapt.when_imported("torch.distributed.rendezvous")
def _stores(module: types.ModuleType) -> None:
    module.TCPStore = on_its_host(module.TCPStore)  # type: ignore[attr-defined]
