"""The socket that carries new weights from the trainer to vLLM, named so that two runs on one machine cannot share it.

verl names it /tmp/rl-colocate-zmq-<Ray job>-...; every Ray instance counts its jobs from 1, so two runs with a Ray of
their own would use one file, and both would wait forever at a weight update. The node's raylet is a run's own.
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
    """verl's handle with the raylet's process id in it; both ends run below the same raylet and inherit its id.

    Raises:
        ValueError: when verl names its sockets differently than it did in the tested version.
    """
    if _SHARED not in handle:
        raise ValueError(f"verl's weight socket is called {handle}: fix recipes/verl_plugin/weight_sync.py")
    return handle.replace(_SHARED, f"{_SHARED}{os.environ.get('RAY_RAYLET_PID', '0')}-")


class RunServerAdapter(ServerAdapter):
    """The trainer's end. Registered by external.py in the place of verl's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zmq_handle = own_handle(self.zmq_handle)  # type: ignore[has-type]


class WorkerExtension(vLLMColocateWorkerExtension):
    """vLLM's end. Given by name through rollout.engine_kwargs.vllm.worker_extension_cls."""

    def update_weights_from_ipc(self, *args: Any, **kwargs: Any) -> None:
        """verl's, which ends without an answer where it raises, while the trainer's end waits for one without a limit:
        so the log gets the exception, and the line by which the watchdog ends the run."""
        try:
            super().update_weights_from_ipc(*args, **kwargs)
        except BaseException:
            traceback.print_exc()
            print(WEIGHTS_LOST, file=sys.stderr, flush=True)
            raise

    def _get_zmq_handle(self) -> str:
        return own_handle(super()._get_zmq_handle())
