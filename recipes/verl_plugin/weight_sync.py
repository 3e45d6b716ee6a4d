"""Gives the socket that transfers weights from the trainer to vLLM a name that two runs on a machine cannot share.

verl names it /tmp/rl-colocate-zmq-<Ray job>-...; every Ray instance counts its jobs from 1, so two runs with separate
Ray instances would use the same file and hang at a weight update. The node's raylet is specific to a run.
"""

import os
import sys
import traceback
from typing import Any

from verl.workers.rollout.vllm_rollout import ServerAdapter
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from recipes.watch.signs import WEIGHTS_LOST

_SHARED = "/rl-colocate-zmq-"


def own_handle(handle: str) -> str:
    """verl's handle plus the raylet's pid; both ends run below the same raylet and inherit its pid.

    Raises:
        ValueError: verl names its sockets differently from the tested version.
    """
    if _SHARED not in handle:
        raise ValueError(f"unexpected name of verl's weight socket, {handle}: fix recipes/verl_plugin/weight_sync.py")
    return handle.replace(_SHARED, f"{_SHARED}{os.environ.get('RAY_RAYLET_PID', '0')}-")


class RunServerAdapter(ServerAdapter):
    """The trainer's end. Registered by external.py instead of verl's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zmq_handle = own_handle(self.zmq_handle)  # type: ignore[has-type]


class WorkerExtension(vLLMColocateWorkerExtension):
    """vLLM's end. Passed by name through rollout.engine_kwargs.vllm.worker_extension_cls."""

    def update_weights_from_ipc(self, *args: Any, **kwargs: Any) -> None:
        """If verl's method raises, it sends no answer, for which the trainer's end waits forever: so log the exception,
        and the line by which the watchdog ends the run."""
        try:
            super().update_weights_from_ipc(*args, **kwargs)
        except BaseException:
            traceback.print_exc()
            print(WEIGHTS_LOST, file=sys.stderr, flush=True)
            raise

    def _get_zmq_handle(self) -> str:
        return own_handle(super()._get_zmq_handle())
