"""What this machine has, without importing torch."""

import os
import shutil
import subprocess


def gpu_count() -> int:
    """How many NVIDIA GPUs a process started now would see."""
    return len(visible_devices())


def visible_devices() -> list[str]:
    """NVIDIA GPUs a process started now would see, as CUDA_VISIBLE_DEVICES names them; none without a driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]


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
