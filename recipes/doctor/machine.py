"""What this machine has (cores, memory, GPUs, disk) and what prevents training on it.
Standard library only: it must work before anything is installed."""

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from recipes.common.machine import cores, main_memory, visible_devices, visible_places

GIB = 1024**3
MIN_RAM = 8 * GIB
"""The CPU loop (trainer, vLLM, Ray) with a tiny model peaks at 7.4 GiB."""
MIN_SHM = 1 * GIB
"""Weights for vLLM and objects of Ray workers pass through /dev/shm."""
MIN_SHM_GPU = 8 * GIB
"""The same on GPU machines, whose models and batches are larger."""
MIN_DISK = 10 * GIB
MIN_DRIVER = 580
"""First driver for CUDA 13, which the cuda stack's torch is built for."""


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as nvidia-smi names it."""

    name: str
    memory: int | None
    """Bytes; None for GPUs that share the host's memory."""
    driver: str


@dataclass(frozen=True)
class Machine:
    """The machine's resources within container limits; sizes in bytes, None if unknown."""

    cores: int
    ram: int | None
    gpus: tuple[Gpu, ...]
    disk_free: int | None
    shm: int | None
    architecture: str
    cpu_flags: frozenset[str]
    wsl: bool = False
    """Whether it is Linux inside Windows."""

    hidden: tuple[str, ...] = ()
    """GPUs hidden from CUDA, by nvidia-smi's number and name."""


def parse_gpus(csv: str) -> tuple[Gpu, ...]:
    """GPUs from `nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits` (MiB)."""
    gpus = []
    for line in csv.splitlines():
        cells = [cell.strip() for cell in line.rsplit(",", 2)]
        if len(cells) == 3 and cells[0]:
            gpus.append(Gpu(cells[0], int(cells[1]) * 2**20 if cells[1].isdigit() else None, cells[2]))
    return tuple(gpus)


def find_gpus() -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """(GPUs of nvidia-smi that CUDA_VISIBLE_DEVICES shows, number and name of hidden ones); if nvidia-smi is missing,
    fails or hangs, devices found otherwise."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        said = ""
    # Some containers lack nvidia-smi, and a partly broken one may still list the cards that a run will see.
    gpus, shown = parse_gpus(said) or tuple(Gpu("NVIDIA GPU", None, "") for _ in visible_devices()), visible_places()
    hidden = [f"{place} ({gpu.name})" for place, gpu in enumerate(gpus) if place not in shown]
    return tuple(gpu for place, gpu in enumerate(gpus) if place in shown), tuple(hidden)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _cpu_flags() -> frozenset[str]:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _disk(path: str, total: bool = False) -> int | None:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return usage.total if total else usage.free


def look(root: Path) -> Machine:
    """This machine; free disk space is that of the filesystem of `root`."""
    gpus, hidden = find_gpus()
    return Machine(
        cores=cores(),
        ram=main_memory(),
        gpus=gpus,
        disk_free=_disk(str(root)),
        shm=_disk("/dev/shm", total=True),
        architecture=platform.machine(),
        cpu_flags=_cpu_flags(),
        wsl="microsoft" in platform.release().lower(),
        hidden=hidden,
    )


def gib(size: int | None) -> str:
    """Bytes as readable GiB."""
    return "unknown" if size is None else f"{size / GIB:.1f} GiB"


def hindrances(machine: Machine, stack: str) -> list[str]:
    """What will fail or be slow here with that stack ("cpu" or "cuda"), each with its fix."""
    found = []
    if stack == "cpu" and machine.cpu_flags and machine.architecture == "x86_64" and "avx2" not in machine.cpu_flags:
        found.append("the CPU has no AVX2, which vLLM's CPU build needs: rollouts will not start here")
    if stack == "cpu" and machine.gpus:
        found.append(
            f"{len(machine.gpus)} GPU(s) here, but the cpu stack: ./install.sh --profile cuda, or run.py --profile cpu"
        )
    if stack == "cuda" and not machine.gpus and machine.hidden:
        found.append("CUDA_VISIBLE_DEVICES hides every GPU: unset it, or name those to train on")
    elif stack == "cuda" and not machine.gpus:
        found.append(
            "the cuda stack on a machine whose nvidia-smi lists no GPU: fine for an image or a login node (run "
            "python3 -m recipes.doctor on the GPU machine); else fix the driver, or use --profile cpu"
        )
    if machine.ram is not None and machine.ram < MIN_RAM:
        found.append(f"{gib(machine.ram)} of memory; a run takes about {gib(MIN_RAM)}: expect it to be killed")
    if stack == "cuda" and machine.wsl:
        found.append(
            "this is WSL2, which has no CUDA IPC: reinforcement stages fail when the first weights go to vLLM; train "
            "under native Linux, or use the cpu stack"
        )
    shm = MIN_SHM_GPU if machine.gpus else MIN_SHM
    if machine.shm is not None and machine.shm < shm:
        found.append(
            f"/dev/shm is {gib(machine.shm)}; weights and Ray objects pass through it, give it {shm // GIB} GiB or "
            "more (docker run --shm-size=8g, or mount -o remount,size=8g /dev/shm)"
        )
    if machine.disk_free is not None and machine.disk_free < MIN_DISK:
        found.append(f"{gib(machine.disk_free)} of free disk; checkpoints and models need {gib(MIN_DISK)} or more")
    return found
