"""What a GPU run needs besides packages: driver, compiler, a working card. Standard library only: code that needs torch
runs in a separate process."""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from recipes.doctor.machine import MIN_DRIVER, Machine

SECONDS = 600
"""Time limit of the trial, which imports vLLM, perhaps from a cold disk, and compiles with torch."""

MIN_CAPABILITY = (8, 0)
"""Compute capability needed for bfloat16 (Ampere, 2020)."""

NOT_INITIALISED = "system not yet initialized"
FABRIC = "Fabric Manager is not running (systemctl status nvidia-fabricmanager), or not of the driver's version"
"""CUDA's error 802 on machines with NVSwitch."""

HEADERS = "apt install build-essential python3.{0}-dev"

TRIAL = """
import torch
listed = []
for device in range(torch.cuda.device_count()):
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        name = torch.cuda.get_device_name(device)
        raise SystemExit(f"{name} has compute capability {capability[0]}.{capability[1]}, and bfloat16 needs 8.0: "
                         "hide it (CUDA_VISIBLE_DEVICES), or use a card from 2020 on")
    a = torch.randn(256, 256, device=f"cuda:{device}")
    error = ((a.bfloat16() @ a.bfloat16()).float() - a @ a).norm() / (a @ a).norm()
    if not error < 0.02:
        raise SystemExit(f"a matrix product in bfloat16 on cuda:{device} is wrong by {error:.1%}")
    listed.append(f"{capability[0]}.{capability[1]}")
if not listed:
    raise SystemExit("torch sees no GPU (CUDA_VISIBLE_DEVICES?)")
x = torch.randn(4096, device="cuda")
assert torch.allclose(torch.compile(lambda x: torch.nn.functional.silu(x) * 2)(x), torch.nn.functional.silu(x) * 2)
import vllm.v1.worker.gpu_worker
print("works:", "capability", ", ".join(sorted(set(listed))))
"""
"""On every card: memory and a matrix product; on the first: a Triton kernel; then vLLM's worker with its libraries."""


@dataclass(frozen=True)
class Need:
    """One thing a GPU run needs; `trouble` says what is wrong and how to fix it, empty if nothing is."""

    name: str
    wanted: str
    found: str
    trouble: str = ""


def needs(machine: Machine, trial: bool = True) -> list[Need]:
    """All needs of the CUDA stack. Without a GPU (an image, a login node) only compiler and headers are checked.

    Args:
        trial: also compute on the cards, which takes as long as importing torch and vLLM.
    """
    found = [_compiler(), _headers()]
    if not machine.gpus:
        why = "CUDA_VISIBLE_DEVICES hides all" if machine.hidden else "nvidia-smi lists none"
        return [*found, Need("GPU", "a driver's", f"cannot be checked here: {why}")]
    # Without a compiler the trial would fail for the same reason.
    tried = [_trial()] if trial and not any(need.trouble for need in found) else []
    works = bool(tried) and not tried[0].trouble
    return [*found, *(_driver(driver, works) for driver in sorted({gpu.driver for gpu in machine.gpus})), *tried]


def _driver(version: str, works: bool) -> Need:
    """works: whether the trial succeeded, which it does with an old driver if cuda-compat is loaded."""
    major = version.split(".")[0]
    old = major.isdigit() and int(major) < MIN_DRIVER
    trouble = (
        f"too old for CUDA 13: install driver {MIN_DRIVER} or newer (on a data-centre card the package "
        f"cuda-compat-13-0 does, with its folder in LD_LIBRARY_PATH)"
    )
    if old and works:
        return Need("NVIDIA driver", f">={MIN_DRIVER}", f"{version}, with cuda-compat")
    return Need("NVIDIA driver", f">={MIN_DRIVER}", version, trouble if old else "")


def _compiler() -> Need:
    # Triton compiles a small launcher when vLLM starts, and finds the compiler this way.
    named = os.environ.get("CC")
    there = shutil.which(named) if named is not None else shutil.which("gcc") or shutil.which("clang")
    trouble = f"vLLM compiles with it as it starts: {HEADERS.format(sys.version_info.minor)}"
    if named is not None:
        trouble = f"CC is {named}, which does not exist: unset it, or name one that does"
        if len(named.split()) != 1:
            trouble = f"CC is '{named}', and must be one program without arguments: unset it, or name one (CC=gcc)"
    return Need("C compiler", "gcc or clang", there or "-", "" if there else trouble)


def _headers() -> Need:
    file = Path(sysconfig.get_paths()["include"]) / "Python.h"
    trouble = f"vLLM compiles with it as it starts: {HEADERS.format(sys.version_info.minor)} (conda and uv have it)"
    return Need(
        "Python.h", "of this Python", str(file.parent) if file.is_file() else "-", "" if file.is_file() else trouble
    )


def _trial() -> Need:
    program = TRIAL.replace("CAPABILITY", str(MIN_CAPABILITY))
    # As in runs (recipes/verl_plugin/environment.py, not imported since this must work without packages).
    environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Need("GPU", "computes", "-", f"the trial did not finish within {SECONDS} s: look at nvidia-smi")
    said = [line for line in (done.stdout if not done.returncode else done.stderr).splitlines() if line.strip()]
    last = " ".join((said or [f"Python exited with status {done.returncode}"])[-1].split())[:300]
    if done.returncode:
        return Need("GPU", "computes", "-", f"{last}: {FABRIC}" if NOT_INITIALISED in done.stderr else last)
    return Need("GPU", "computes", last.removeprefix("works: "))
