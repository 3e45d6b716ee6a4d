"""Experiment -> the environment variables of a run. Imports no verl, so that --dry_run answers at once."""

import os

from recipes import ROOT
from recipes.common.run_dir import RunDir
from recipes.settings.experiment import Experiment
from recipes.settings.trackers import tracker_environment


def python_path() -> dict[str, str]:
    """Where all processes find modules: ours first, whatever stands in the folder that a command is given in."""
    places = [str(ROOT), os.environ.get("PYTHONPATH", ""), os.getcwd()]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, places))), "PYTHONSAFEPATH": "1"}


CPU = {
    "PYTHONHASHSEED": "0",  # as in all runs, of which these processes are the source
    "VERL_PLATFORM": "cpu",
    "CUDA_VISIBLE_DEVICES": "-1",
    # verl registers its FSDP engines under accelerator names only; this picks them, nothing else.
    "VERL_ENGINE_DEVICE": "cuda",
    "VERL_USE_EXTERNAL_MODULES": "recipes.verl_plugin.platform_cpu,recipes.verl_plugin.external",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # vLLM then takes "uni" for an answer on a CPU; the engine has a process of its own all the same.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # What vLLM compiles on a CPU is sampling, for longer than a short run would ever get back.
    "TORCHDYNAMO_DISABLE": "1",
    # glibc gives every large tensor back to the system and takes its pages anew.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    # Ray gives its workers a low priority: anything else on the machine would go before the run.
    "RAY_worker_niceness": "0",
    # Two workers that nobody asked for, and that import for themselves while a run starts.
    "RAY_prestart_worker_first_driver": "0",
}
"""What every process of a run on the CPU has, whatever the run is."""


GPU = {
    # Numbers in CUDA_VISIBLE_DEVICES as nvidia-smi counts, and we with it (recipes/common/machine.py); CUDA by itself
    # puts the fastest card first.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    # Else whatever the loop, the rewards and the driver import may take memory of the first GPU: Ray has stopped hiding
    # GPUs from workers that asked for none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # verl compiles anew at every start, which a resumed run and each run of a sweep would wait for.
    "VLLM_DISABLE_COMPILE_CACHE": "0",
}
"""What every process of a run on GPUs has where the user says nothing else."""


def environment(experiment: Experiment, run: RunDir) -> dict[str, str]:
    """Environment of the trainer process and, by inheritance, of everything it starts."""
    env = {
        **python_path(),
        "PYTHONUNBUFFERED": "1",
        # An own algorithm or reward that hashes texts does the same in a resumed run.
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
        # FlashInfer compiles its sampler as the engine starts, which ends the run there where the machine's nvcc does
        # not fit the headers we pin. vLLM's own needs no compiler. Whoever has a fitting nvcc may set 1.
        "VLLM_USE_FLASHINFER_SAMPLER": os.environ.get("VLLM_USE_FLASHINFER_SAMPLER", "0"),
        "HYDRA_FULL_ERROR": "1",
        "TENSORBOARD_DIR": str(run.path / "tensorboard"),
        "VERL_USE_EXTERNAL_MODULES": "recipes.verl_plugin.external",
        "UFT_SEED": str(experiment.seed),
        **tracker_environment(experiment.logger, run),
    }
    if experiment.device == "cpu":
        # No device for anybody, and one name for each of those that Ray counts: it refuses an empty list, the usual
        # way to force the CPU.
        env |= {**CPU, "CUDA_VISIBLE_DEVICES": ",".join(["-1"] * experiment.n_gpu)}
    else:
        env |= {name: os.environ.get(name, value) for name, value in GPU.items()}
    return env
