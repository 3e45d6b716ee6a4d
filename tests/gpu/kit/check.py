"""What a GPU machine must have before a run: printed, with exit code 1 where something is missing."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from recipes.doctor.machine import GIB, MIN_SHM_GPU, look

ROOT = Path(__file__).resolve().parents[3]
MIN_CORES = 7
"""Processors that verl asks Ray for with one GPU: with fewer a run hangs."""

MODULES = (
    "vllm.v1.worker.gpu_worker",
    "vllm.v1.engine.async_llm",
    "vllm.v1.attention.backends.flash_attn",
    "verl.workers.rollout.vllm_rollout.vllm_async_server",
    "recipes.verl_plugin.external",
    "recipes.verl_plugin.trainer",
    "recipes.verl_plugin.agent_loop",
    "recipes.verl_plugin.weight_sync",
    "recipes.verl_plugin.sft_main",
    "transfer_queue",
    "ray",
)


def machine() -> str:
    """The card, its driver, the cores, shared memory and the compiler; RuntimeError names what is too little."""
    card = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader"]
    listed = subprocess.run(card, capture_output=True, text=True, check=True).stdout.strip()
    here = look(ROOT)
    shared = here.shm or 0
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    found = f"{listed}; {here.cores} cores; /dev/shm {shared / GIB:.1f} GiB; {compiler or 'no C compiler'}; {header}"
    lacks = {
        f"{MIN_CORES} cores": here.cores >= MIN_CORES,
        f"{MIN_SHM_GPU // GIB} GiB of /dev/shm (docker run --shm-size=16g)": shared >= MIN_SHM_GPU,
        "a C compiler (apt install build-essential)": compiler is not None,
        f"{header} (apt install python3.{sys.version_info.minor}-dev)": header.is_file(),
    }
    if missing := [name for name, there in lacks.items() if not there]:
        raise RuntimeError(f"a run needs {', '.join(missing)}. Found: {found}")
    return found


def product() -> str:
    """A matrix product in bfloat16 against float64."""
    import torch

    a, b = (torch.randn(512, 512, device="cuda") for _ in range(2))
    exact = a.double() @ b.double()
    error = ((a.bfloat16() @ b.bfloat16()).double() - exact).norm() / exact.norm()
    assert error < 1e-2, float(error)
    return f"relative error {float(error):.1e}"


def compiled() -> str:
    """A kernel that Triton builds."""
    import torch

    doubled = torch.compile(lambda x: torch.nn.functional.silu(x) * 2)
    x = torch.randn(4096, device="cuda")
    assert torch.allclose(doubled(x), torch.nn.functional.silu(x) * 2, atol=1e-5)
    return "torch.compile's equals eager's"


def imports() -> str:
    """Every module a run imports."""
    for name in MODULES:
        import_module(name)
    names = ("torch", "vllm", "verl", "ray", "transformers", "numpy")
    return ", ".join(f"{name} {version(name)}" for name in names)


def main() -> int:
    """Print a line for each check; returns the exit code."""
    failed = False
    checks: tuple[Callable[[], str], ...] = (machine, product, compiled, imports)
    for check in checks:
        try:
            print(f"{check.__name__:<10} ok      {check()}", flush=True)
        except Exception as error:  # any failure is what this reports
            failed = True
            print(f"{check.__name__:<10} FAILED  {type(error).__name__}: {error}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
