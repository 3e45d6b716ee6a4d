"""A "cpu" platform for verl: the same Ray + FSDP2 + vLLM loop on a machine without an accelerator.

Loaded only in CPU runs, in every process, through VERL_USE_EXTERNAL_MODULES: torch's CPU takes the place of a device,
and Ray's logical GPU count (ray_init.num_gpus) is used to place workers.
"""

import contextlib
import resource
import types
from collections.abc import Iterator
from typing import Any

import psutil
import torch
import verl.utils.distributed
import wrapt
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry


def _memory_used(*_: object, **__: object) -> int:
    return psutil.Process().memory_info().rss


def _memory_peak(*_: object, **__: object) -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _memory_free_total(*_: object, **__: object) -> tuple[int, int]:
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _nothing(*_: object, **__: object) -> None:
    return None


def _device_module() -> types.ModuleType:
    """For verl's `get_torch_device()`: the subset of torch.cuda that verl uses, implemented for the CPU."""
    module = types.ModuleType("verl_cpu_device")
    for name in (
        "synchronize",
        "empty_cache",
        "ipc_collect",
        "set_device",
        "manual_seed",
        "manual_seed_all",
        "reset_peak_memory_stats",
        "reset_max_memory_allocated",
    ):
        setattr(module, name, _nothing)
    answers: dict[str, Any] = {
        # False, so that verl skips its helpers for accelerators.
        "is_available": lambda: False,
        "device_count": lambda: 1,
        "current_device": lambda: "cpu",
        "get_device_name": lambda *_: "cpu",
        "mem_get_info": _memory_free_total,
        "memory_allocated": _memory_used,
        "memory_reserved": _memory_used,
        "max_memory_allocated": _memory_peak,
        "max_memory_reserved": _memory_peak,
    }
    for name, answer in answers.items():
        setattr(module, name, answer)
    return module


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    """The CPU as verl's accelerator. Chosen only by VERL_PLATFORM=cpu, never detected."""

    _module = _device_module()

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "cpu"

    @property
    def device_module(self) -> types.ModuleType:
        return self._module

    def is_available(self) -> bool:
        return False

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return False

    def current_device(self) -> str:
        # An int would make tensor.to(0) mean cuda:0.
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        return None

    def synchronize(self, device_index: int | None = None) -> None:
        return None

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        return None

    def empty_cache(self) -> None:
        return None

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        return None

    def profiler_stop(self) -> None:
        return None

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        # False: weights are transferred to vLLM through shared memory instead of CUDA handles.
        return False

    def cudart(self) -> Any:
        return None


# verl joins "cpu:gloo" and "<device>:<backend>"; for the CPU that is "cpu:gloo,cpu:gloo", which torch rejects. The
# name is only used in this string, so any other device name gives a group that works for CPU tensors.
verl.utils.distributed.get_device_name = lambda: "cuda"


@wrapt.when_imported("verl.workers.engine.fsdp.transformer_impl")
def _keep_reference_in_plain_memory(module: types.ModuleType) -> None:
    """verl offloads the reference model with pinned memory, which needs an accelerator; here it is not moved."""
    from torch.distributed.fsdp import OffloadPolicy

    def plain_policy(pin_memory: bool = True) -> OffloadPolicy:
        return OffloadPolicy()

    module.CPUOffloadPolicy = plain_policy  # type: ignore[attr-defined]
