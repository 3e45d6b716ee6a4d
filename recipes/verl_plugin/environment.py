"""Experiment -> the environment variables of a run. Imports no verl, so that --dry_run is fast."""

import os

from recipes import ROOT
from recipes.common.run_dir import RunDir
from recipes.settings.experiment import Experiment
from recipes.settings.trackers import tracker_environment


def python_path() -> dict[str, str]:
    """Where all processes find modules: ours first, regardless of the working folder's contents."""
    places = [str(ROOT), os.environ.get("PYTHONPATH", ""), os.getcwd()]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, places))), "PYTHONSAFEPATH": "1"}


CPU = {
    "PYTHONHASHSEED": "0",  # as in all runs, whose processes may be forked from one with this environment
    "VERL_PLATFORM": "cpu",
    "CUDA_VISIBLE_DEVICES": "-1",
    # verl registers its FSDP engines under accelerator names only; this only selects them.
    "VERL_ENGINE_DEVICE": "cuda",
    "VERL_USE_EXTERNAL_MODULES": "recipes.verl_plugin.platform_cpu,recipes.verl_plugin.external",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # vLLM then accepts "uni" on a CPU; the engine still has its own process.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # On a CPU vLLM only compiles sampling, which takes longer than a short run could save.
    "TORCHDYNAMO_DISABLE": "1",
    # By default glibc returns every large tensor's memory to the system and faults the pages in again.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    # By default Ray gives its workers a low priority, below everything else on the machine.
    "RAY_worker_niceness": "0",
    # Otherwise Ray starts two unneeded workers, whose imports slow down a run's start.
    "RAY_prestart_worker_first_driver": "0",
}
"""Environment of every process of a CPU run."""


GPU = {
    # Makes the numbers in CUDA_VISIBLE_DEVICES those of nvidia-smi, as we assume (recipes/common/machine.py); CUDA's
    # default puts the fastest card first.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    # Otherwise anything that the loop, rewards and driver import may use memory of the first GPU: Ray no longer hides
    # GPUs from workers that requested none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # Otherwise verl recompiles at every start, also of resumed runs and every run of a sweep.
    "VLLM_DISABLE_COMPILE_CACHE": "0",
}
"""Environment of every process of a GPU run, unless the user sets it."""


def environment(experiment: Experiment, run: RunDir) -> dict[str, str]:
    """Environment of the trainer process and everything it starts."""
    env = {
        **python_path(),
        "PYTHONUNBUFFERED": "1",
        # A custom algorithm or reward that hashes texts behaves the same in a resumed run.
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
        # FlashInfer compiles its sampler when the engine starts, which fails if the machine's nvcc does not match the
        # pinned headers. vLLM's own sampler needs no compiler. With a matching nvcc it may be set to 1.
        "VLLM_USE_FLASHINFER_SAMPLER": os.environ.get("VLLM_USE_FLASHINFER_SAMPLER", "0"),
        "HYDRA_FULL_ERROR": "1",
        "TENSORBOARD_DIR": str(run.path / "tensorboard"),
        "VERL_USE_EXTERNAL_MODULES": "recipes.verl_plugin.external",
        "UFT_SEED": str(experiment.seed),
        **tracker_environment(experiment.logger, run),
    }
    if experiment.device == "cpu":
        # Hides all devices but has one entry for each logical GPU of Ray, which rejects an empty list, the usual way to
        # force the CPU.
        env |= {**CPU, "CUDA_VISIBLE_DEVICES": ",".join(["-1"] * experiment.n_gpu)}
    else:
        env |= {name: os.environ.get(name, value) for name, value in GPU.items()}
    return env
