"""What this machine has, without importing torch."""

import importlib.metadata
import os
import resource
import shutil
import subprocess
from itertools import takewhile
from pathlib import Path

DEVICES = Path("/dev")
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
    if device.isdigit():
        return int(device) < len(listed)
    # A name is a UUID or the beginning of one; parts of a GPU (MIG), and GPUs without the driver's tools, are not
    # listed by name, and believed.
    named = any("UUID: " in line for line in listed)
    if device.startswith("GPU-") and named:
        return any(f"UUID: {device}" in line for line in listed)
    return device.startswith(("GPU-", "MIG-")) and bool(listed)


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
    """Memory of the smallest GPU of this machine in GB (10^9 bytes); None where it cannot be told."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return min((float(line) for line in listed.stdout.split()), default=0.0) * 2**20 / 1e9 or None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def address_limit() -> int | None:
    """Bytes of addresses that this process may have (ulimit -v); None where they are not limited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def main_memory() -> int | None:
    """Bytes of main memory that this process may use; None where it cannot be told."""
    lines = _read("/proc/meminfo").splitlines()
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(limit).strip()
        if text.isdigit():
            sizes.append(int(text))
    return min(sizes, default=None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
