"""vLLM's engine configurations of the GPU profiles, where no GPU is: `python -m tests.gpu.faked [NAME ...]`.

Needs the CUDA stack. A library without functions stands for the driver, a class of ours for the card. The rest is what
a run does, up to where vLLM would start its workers: verl's checks, its server, vLLM's command line and checks.
Prints a line for each configuration; exit code 1 where one is refused or is not what the profile says.
"""

import asyncio
import ctypes
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock


@dataclass(frozen=True)
class Case:
    """A profile with a model of a known shape, and the model runner that vLLM 0.24 has for its architecture."""

    profile: str
    model: str
    flags: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What the command line takes, and the table shows."""
        return " ".join([self.profile, self.model, *(f"{flag}={value}" for flag, value in self.flags)])


CASES = (
    Case("1x24gb", "Qwen2.5-1.5B"),
    Case("1x24gb", "Llama-3.2-1B"),
    Case("4x24gb", "Qwen2.5-1.5B"),
    Case("8x40gb", "Qwen2.5-1.5B"),
    Case("1x80gb", "tiny"),
    Case("1x80gb", "Qwen2.5-0.5B"),
    Case("1x80gb", "Qwen2.5-1.5B"),
    Case("1x80gb", "Qwen2.5-1.5B", (("lora_rank", 24),)),
    Case("1x80gb", "Qwen2.5-1.5B", (("rollout_seeds", "each"),)),
    Case("h100x2", "Qwen2.5-0.5B"),
    Case("h100x2", "Qwen2.5-1.5B"),
    Case("h100x2", "Llama-3.2-1B"),
    Case("h100x4", "Qwen2.5-3B"),
    Case("h100x4", "Llama-3.2-3B"),
    Case("h100x8", "Qwen2.5-7B"),
    Case("h100x8", "Qwen2.5-7B", (("tp_size", 4),)),
    Case("h100x8", "Llama-3.1-8B"),
)


def fake_driver(folder: Path) -> None:
    """Load a library without a function as libcuda.so.1: what links to it then loads, and may call nothing of it."""
    source, library = folder / "none.c", folder / "libcuda.so.1"
    source.write_text("")
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    # As where Ray has not yet given a process its card: vLLM then does without a driver that Triton knows.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # Later loads of that name find the library that has it already, and look for functions when they are called.
    sys.setdlopenflags(os.RTLD_LAZY)
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def fake_card(cards: int, memory_gb: float) -> None:
    """Cards for vLLM: of a size as a GeForce RTX 4090, an A100 or an H100 has it."""
    ours = {24: (8, 9), 40: (8, 0)}.get(int(memory_gb), (9, 0))
    import vllm.platforms as platforms
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    class FakedCards(CudaPlatformBase):
        @classmethod
        def get_device_capability(cls, device_id: int = 0) -> DeviceCapability:
            return DeviceCapability(*ours)

        @classmethod
        def has_device_capability(cls, capability: Any, device_id: int = 0) -> bool:
            wanted = capability if isinstance(capability, tuple) else divmod(capability, 10)
            return wanted <= ours

        @classmethod
        def get_device_name(cls, device_id: int = 0) -> str:
            return "a card that is not there"

        @classmethod
        def get_device_total_memory(cls, device_id: int = 0) -> int:
            return int(memory_gb * 1e9)

        @classmethod
        def device_count(cls) -> int:
            return cards

        @classmethod
        def is_fully_connected(cls, physical_device_ids: list[int]) -> bool:
            return True

        @classmethod
        def num_compute_units(cls, device_id: int = 0) -> int:
            return 132

    platforms._current_platform = FakedCards()


def engine_of(case: Case, folder: Path) -> tuple[Any, Any]:
    """(the experiment, vLLM's configuration) of a run's first engine. Raises what refuses it."""
    from bench.inputs import described_model
    from recipes.common.run_dir import RunDir
    from recipes.flags.resolve import build_experiment
    from recipes.settings.profiles import profile_named
    from recipes.verl_plugin.compose import compose_config
    from recipes.verl_plugin.main import checked_config
    from recipes.verl_plugin.verl_config import REINFORCEMENT, rl_config

    described_model(case.model, folder)
    profile = profile_named(case.profile)
    fake_card(profile.n_gpu, profile.memory_gb)
    experiment = build_experiment({"model": str(folder), "data": "countdown", **dict(case.flags)}, profile)
    files = {"train_file": Path("train.parquet"), "test_file": Path("test.parquet")}
    values = rl_config(experiment, run=RunDir(folder), model=str(folder), resume_from=None, **files)
    actor = checked_config(compose_config(REINFORCEMENT, values, [])).actor_rollout_ref
    return experiment, asyncio.run(_launched(actor, experiment.n_gpu // experiment.tp_size, experiment.tp_size))


async def _launched(actor: Any, replicas: int, size: int) -> Any:
    """vLLM's configuration, as verl's server has made it where it would start the engine."""
    from verl.workers.rollout.replica import RolloutMode
    from verl.workers.rollout.vllm_rollout import vllm_async_server as server

    class Started(server.vLLMHttpServer):  # type: ignore[misc]
        async def run_server(self, args: Any) -> None:
            self.made = server.AsyncEngineArgs.from_cli_args(args).create_engine_config(
                usage_context=server.UsageContext.OPENAI_API_SERVER
            )

    context = SimpleNamespace(get_job_id=lambda: "1")
    ray, address = server.ray, "127.0.0.1"
    devices = ",".join(str(device) for device in range(size))
    with (
        mock.patch.object(ray, "get_runtime_context", return_value=context),
        mock.patch.object(ray.util, "get_node_ip_address", return_value=address),
    ):
        started = Started(
            config=actor.rollout,
            model_config=actor.model,
            rollout_mode=RolloutMode.HYBRID,
            workers=[None] * size,
            replica_rank=min(1, replicas - 1),
            node_rank=0,
            gpus_per_node=size,
            nnodes=1,
            cuda_visible_devices=devices,
        )
        await started.launch_server()
    return started.made


def facts(engine: Any) -> dict[str, Any]:
    """What a run relies on, of vLLM's configuration."""
    model, scheduler, compiled = engine.model_config, engine.scheduler_config, engine.compilation_config
    return {
        "runner": "V2" if engine.use_v2_model_runner else "V1",
        "dtype": str(model.dtype).removeprefix("torch."),
        "sleeps": model.enable_sleep_mode,
        "extension": engine.parallel_config.worker_extension_cls,
        "log_probs": str(model.logprobs_mode),
        "sequences": scheduler.max_num_seqs,
        "prefix_cache": engine.cache_config.enable_prefix_caching,
        "graphs": compiled.cudagraph_mode.name,
        "largest_graph": max(compiled.cudagraph_capture_sizes, default=0),
        "ranks": engine.parallel_config.tensor_parallel_size,
        "adapter_rank": engine.lora_config.max_lora_rank if engine.lora_config else 0,
        "length": model.max_model_len,
    }


def expected(case: Case, experiment: Any) -> dict[str, Any]:
    """The same, as the experiment has it."""
    allowed = (1, 8, 16, 32, 64, 128, 256, 320, 512)
    return {
        "runner": "V1" if case.model.startswith("Qwen2.5") else "V2",
        "dtype": "bfloat16",
        "sleeps": True,
        "extension": "recipes.verl_plugin.weight_sync.WorkerExtension",
        "log_probs": "processed_logprobs",
        "sequences": experiment.max_num_seqs,
        "prefix_cache": True,
        "graphs": "FULL_AND_PIECEWISE",
        "largest_graph": experiment.max_num_seqs,
        "ranks": experiment.tp_size,
        "adapter_rank": min(rank for rank in allowed if rank >= experiment.lora_rank) if experiment.lora_rank else 0,
        "length": experiment.prompt_length + experiment.response_length,
    }


def tried(case: Case, folder: Path) -> str:
    """What is wrong with a case's configuration; empty where it is as the profile says."""
    try:
        experiment, engine = engine_of(case, folder)
    except Exception as error:  # whoever refuses it, of three packages, has exceptions of its own
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    found, wanted = facts(engine), expected(case, experiment)
    return "; ".join(f"{name} is {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name])


def main(names: list[str]) -> int:
    """Try all cases, or those that are named."""
    if unknown := set(names) - {case.name for case in CASES}:
        print(f"{', '.join(sorted(unknown))}: unknown. Known: {'; '.join(case.name for case in CASES)}")
        return 2
    failed = 0
    with tempfile.TemporaryDirectory(prefix="faked-") as scratch:
        fake_driver(Path(scratch))
        for number, case in enumerate(case for case in CASES if not names or case.name in names):
            trouble = tried(case, Path(scratch) / str(number))
            print(f"engine {'FAILED' if trouble else 'ok':<7} {case.name}{': ' * bool(trouble)}{trouble}", flush=True)
            failed += bool(trouble)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
