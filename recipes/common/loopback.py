"""A run on one machine is reached from that machine alone: Ray, torch and vLLM listen on loopback, and Ray asks for a
token that only the run's user can read. Imported by every process that may open a process group."""

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
    # Ray's name for what its node's address is: that of the machine, or loopback, where all of its servers then listen.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "VLLM_HOST_IP": HOST,
    # torchrun then has the first of its processes meet the others, by way of `on_its_host`.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def alone(folder: Path) -> dict[str, str]:
    """Environment of a run with a Ray of its own, whose token is written into `folder`.

    Without one of ours Ray keeps its token in the home folder, which may not be writable.
    """
    token = folder / "ray_token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32), encoding="ascii")
    # Whoever has named an interface knows why.
    interfaces = {name: os.environ.get(name, "lo") for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    return {**ALONE, **interfaces, TOKEN_PATH: str(token)}


def side_by_side(processes: int) -> list[str]:
    """What stands after Python where torchrun starts so many on this machine: they find each other by a new file in the
    temporary folder, where torchrun's own way is a server on all interfaces."""
    found = ["--nnodes=1", f"--nproc_per_node={processes}", "--rdzv-backend=c10d", "--rdzv-conf=store_type=file"]
    return ["-m", "torch.distributed.run", *found, f"--local-addr={HOST}"]


def on_its_host(store: Callable[..., Any]) -> Callable[..., Any]:
    """torch's TCPStore, whose server listens on all interfaces whatever host it is given, on that host where it is
    loopback."""

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
