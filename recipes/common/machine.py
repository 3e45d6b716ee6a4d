"""What this machine has, without importing torch."""

import importlib.metadata
import os
import resource
import shutil
import subprocess
from itertools import takewhile
from pathlib import Path

DEVICES = Path("/dev")
CGROUPS = Path("/sys/fs/cgroup")
OPEN_FILES = 65_535


def gpu_count() -> int:
    """How many NVIDIA GPUs a process started now would see."""
    return len(visible_devices())


def visible_devices(visible: str | None = None) -> list[str]:
    """NVIDIA GPUs a process started now would see, as CUDA_VISIBLE_DEVICES names them; none without a driver.

    As CUDA reads the variable: devices up to the first that is not there, and none where one is named twice.

    Args:
        visible: in the variable's place.
    """
    listed = _listed()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    if visible is None:
        return [str(number) for number in range(len(listed))]
    named = [device.strip() for device in visible.split(",")]
    known = list(takewhile(lambda device: _is_there(device, listed), named))
    return known if len(set(known)) == len(known) else []


def _listed() -> list[str]:
    """What the driver says of each GPU, a line each."""
    if shutil.which("nvidia-smi") is None:
        # Some containers have the driver without its tools.
        return [f"GPU {file.name}" for file in DEVICES.glob("nvidia[0-9]*")]
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in found.stdout.splitlines() if line.startswith("GPU ")]


def _is_there(device: str, listed: list[str]) -> bool:
    # Parts of a GPU (MIG), and GPUs without the driver's tools, are not listed by name, and believed.
    named = any("UUID: " in line for line in listed)
    if device.isdigit() or (device.startswith("GPU-") and named):
        return _place(device, listed) is not None
    return device.startswith(("GPU-", "MIG-")) and bool(listed)


def _place(device: str, listed: list[str]) -> int | None:
    """Which of the GPUs a number, a UUID or the beginning of one means; None for none of them."""
    if device.isdigit():
        return int(device) if int(device) < len(listed) else None
    return next((place for place, line in enumerate(listed) if f"UUID: {device}" in line), None)


def allow_open_files() -> None:
    """Let this process, and what it starts, open as many files as it may: Ray and vLLM need more than the 256 or 1024
    that shells begin with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def flash_attention_installed() -> bool:
    """Whether flash-attn 2 is: version 4 is another distribution, whose modules go by the same name."""
    return any(found.version.startswith("2.") for found in importlib.metadata.distributions(name="flash-attn"))


def gpu_memory_gb() -> float | None:
    """Memory of the smallest GPU that a process started now would see, in GB (10^9 bytes); None where it cannot be
    told. A card for a screen, or one that is hidden, counts no more than CUDA would count it."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    mib, listed = done.stdout.splitlines(), _listed()
    seen = {_place(device, listed) for device in visible_devices()}
    sizes = [int(size) for place, size in enumerate(mib) if seen <= {None} or place in seen if size.strip().isdigit()]
    return min(sizes) * 2**20 / 1e9 if sizes else None


def address_limit() -> int | None:
    """Bytes of addresses that this process may have (ulimit -v); None where they are not limited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def main_memory() -> int | None:
    """Bytes of main memory that this process may use; None where it cannot be told."""
    lines = _read("/proc/meminfo").splitlines()
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    limits = _limits("memory.max") + _limits("memory.limit_in_bytes", "memory")
    return min(sizes + [int(limit) for limit in limits if limit.isdigit()], default=None)


def cores() -> int:
    """Processors that this process may use: a container or a job of a scheduler has fewer than its machine."""
    quotas = [limit.split() for limit in _limits("cpu.max")]
    shares = [int(each[0]) // int(each[1]) for each in quotas if len(each) == 2 and each[0].isdigit()]
    return max(1, min([os.cpu_count() or 1, len(os.sched_getaffinity(0)), *shares]))


def _limits(name: str, controller: str = "") -> list[str]:
    """What a file says in the control groups of this process: the outermost, which is all that a container sees, and
    those below it, such as that of a job under Slurm. `controller`: of their first version, with a tree for each."""
    groups = (line.split(":", 2) for line in _read("/proc/self/cgroup").splitlines())
    own = [Path(path.lstrip("/")) for _, of, path in groups if controller in of.split(",")]
    folders = {Path(), *own, *(above for path in own for above in path.parents)}
    return [_read(CGROUPS / controller / folder / name).strip() for folder in folders]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
