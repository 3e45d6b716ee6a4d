"""The diagnosis: what happened where, its known cause, and what to do."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from recipes.watch.diagnose import Facts, diagnose, full_disks, position
from tests.helpers.failed_logs import ACTOR_DIED, BEAT, LOG, failed, ray_error


def test_a_paragraph_says_what_happened_where_why_and_what_to_do() -> None:
    log = ray_error("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 is full.")
    assert failed(log) == (
        "uft on countdown failed (exit code 1) after 12 of 500 steps, while updating the policy. "
        "The cause: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 is full. "
        "The GPU's memory is full. If it failed while updating or computing log-probabilities, halve "
        "--tokens_per_micro_batch (the effective batch stays the same; --auto_batch does this by itself, from the last "
        "checkpoint), but not below the longest prompt plus response; if it failed while generating, lower "
        "--rollout_memory by 0.1. If that is not enough: more devices, a smaller --max_response_length, or adapters "
        "(--lora_rank 32). --dry_run shows the memory estimate. The full output is in out/x/log.txt."
    )


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (
            "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
            "main memory is full",
        ),
        ("MemoryError", "main memory is full"),
        ("OSError: [Errno 28] No space left on device: 'out/x/checkpoints'", "The disk (or your quota) is full"),
        ("OSError: [Errno 28] No space left on device: '/dev/shm/psm_12'", "--shm-size"),
        ("ValueError: No available memory for the cache blocks. Try increasing it.", "Raise --rollout_memory"),
        ("torch.distributed.DistBackendError: NCCL error in: x.cpp:1, ncclSystemError", "NCCL_DEBUG=INFO"),
        (
            "RuntimeError: [gloo/transport/tcp/pair.cc:5] Connection closed by peer [10.0.0.2]:1",
            "The devices lost contact",
        ),
        ("RuntimeError: Timed out waiting 1800000ms for recv operation to complete", "The devices lost contact"),
        ("OSError: [Errno 98] Address already in use", "A network port is in use"),
        (
            "OSError: Qwen/Qwem is not a local folder and is not a valid model identifier listed on 'https://x'",
            "--model must be",
        ),
        ("OSError: models/a does not appear to have a file named config.json.", "--model must be"),
        (
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
            "The model hub cannot be reached",
        ),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "hf auth login"),
        ("PermissionError: [Errno 13] Permission denied: '/data/out'", "Choose another place with --out"),
        ("KeyError: 'hint'", "lacks a column"),
        (
            "ValueError: num_samples should be a positive integer value, but got num_samples=0",
            "longer than --max_prompt_length",
        ),
        ("ValueError: --algo uft needs the column 'hint' (a list of solution steps) in the data", "lacks a column"),
        ("recipes.RewardFailure: 12% of the answers of step 3 could not be scored", "in the run's rollouts/"),
        ("omegaconf.errors.ConfigAttributeError: Key 'foo' is not in struct", "override after -- is wrong"),
        ("ModuleNotFoundError: No module named 'flash_attn'", "./install.sh"),
        ("OSError: [Errno 24] Too many open files", "ulimit -n"),
        ("RuntimeError: The NVIDIA driver on your system is too old (found version 12040).", "install driver 580"),
        ("RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu.", "install driver 580"),
        ("torch.AcceleratorError: CUDA error: no kernel image is available for execution", "capability 8.0"),
        ("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.", "capability 8.0"),
        ("RuntimeError: Failed to find C compiler. Please specify via CC", "apt install build-essential"),
        ("RuntimeError: /tmp/cuda_utils.c:6:10: fatal error: Python.h: No such file", "apt install build-essential"),
        ("RuntimeError: Failed to infer device type, please set VLLM_LOGGING_LEVEL=DEBUG", "--n_gpu"),
        (
            "torch.distributed.DistBackendError: NCCL error: transport/nvls.cc:254 Cuda failure 401",
            "NCCL_NVLS_ENABLE=0",
        ),
        (
            "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
            "systemctl status nvidia-fabricmanager",
        ),
        ("ValueError: Total available GPUs 1 is less than total desired GPUs 8", "--n_gpu"),
    ],
)
def test_known_causes_come_with_their_fix(error: str, fix: str) -> None:
    paragraph = failed(ray_error(error))
    assert error.partition("\n")[0].rstrip(".") in paragraph
    assert fix in paragraph


def test_a_failed_weight_sync_is_known_by_its_frames() -> None:
    log = ray_error("RuntimeError: shape mismatch", file="bucketed.py", function="receive_weights")
    assert "Sending the trained weights to vLLM failed" in failed(log)


def test_a_kill_from_outside_is_most_often_for_memory() -> None:
    paragraph = failed("step:12\n", exit_code=-9)
    assert "failed (killed by SIGKILL)" in paragraph
    assert "by the kernel because memory ran out" in paragraph


def test_a_bus_error_is_shared_memory_unless_the_raylet_had_ended() -> None:
    assert "--shm-size" in failed("step:12\n", exit_code=-signal.SIGBUS)
    said = failed("", exit_code=-signal.SIGBUS, gone=["raylet"])
    assert "Ray's raylet had ended" in said
    assert "/dev/shm" not in said
    assert "Ray's raylet had ended" in failed("Fatal Python error: Bus error", gone=["raylet"]), "a worker's"
    assert "/dev/shm" in failed("", exit_code=-signal.SIGBUS, gone=["VLLM::EngineCore"])


def test_a_limit_of_addresses_is_named_whatever_failed_for_want_of_them() -> None:
    for error in ("RuntimeError: can't start new thread", "MemoryError: ", "OSError: lib.so: failed to map segment"):
        said = failed(ray_error(error), addresses=4_096_000_000)
        assert "is limited to 4.1 GB here (ulimit -v)" in said
        assert "ulimit -u" not in said
    assert "address space" in failed(ACTOR_DIED, addresses=4_096_000_000)
    assert "address space" not in failed(ray_error("ValueError: shapes differ"), addresses=4_096_000_000)


def test_a_kill_that_the_kernel_counted_is_why_a_worker_died_and_not_why_a_value_is_wrong() -> None:
    silent = ray_error("RuntimeError: gloo: Connection closed by peer [127.0.0.1]:31234")
    for log, kills in ((ACTOR_DIED, 2), (silent, 1)):
        assert f"The kernel killed {kills} of this machine's processes" in failed(log, oom_kills=kills)
    assert "kernel" not in failed(ray_error("ValueError: shapes differ"), oom_kills=1)


def test_a_full_disk_is_named_where_the_log_on_it_holds_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"/full": (100, 9), "/no inodes": (10**6, 0), "/roomy": (10**6, 9)}

    def disk(folder: Path) -> SimpleNamespace:
        free, inodes = sizes[str(folder)]
        return SimpleNamespace(f_bavail=free, f_frsize=4096, f_files=10, f_favail=inodes)

    monkeypatch.setattr(os, "statvfs", disk)
    full = full_disks([Path("/roomy"), Path("/full"), Path("/no inodes")])
    assert full == [Path("/full"), Path("/no inodes")]
    said = diagnose("", Facts("uft", "failed", LOG, exit_code=1, full=full))
    assert "The disk of /full, /no inodes is full. The disk (or your quota) is full." in said


def test_a_stall_says_where_it_waits() -> None:
    stack = [f"frame{i} (f.py:{i})" for i in range(9)]
    facts = Facts("uft", "stalled", LOG, None, BEAT, quiet_s=1200.0, dead=("VLLM::EngineCore",), stack=stack)
    paragraph = diagnose("step:12\n", facts)
    for part in (
        "made no progress for 20 min 00 s and was stopped after 12 of 500 steps, while updating the policy.",
        "Before that, VLLM::EngineCore had ended.",
        "It waits in frame0 (f.py:0) < frame1 (f.py:1)",
        "--stall_minutes",
    ):
        assert part in paragraph
    assert "frame6" not in paragraph


def test_a_lost_worker_is_named() -> None:
    facts = Facts("uft", "lost_worker", LOG, None, BEAT, quiet_s=25.0, dead=("ray::WorkerDict", "ray::WorkerDict"))
    assert "lost ray::WorkerDict, without which verl hangs, and was stopped" in diagnose("", facts)


def test_a_run_that_never_got_going() -> None:
    facts = Facts("uft", "failed", LOG, 1)
    assert "while starting, before the first sign of life from the trainer" in diagnose("", facts)


def test_a_resumed_run_is_not_said_to_have_made_no_step_before_its_checkpoint_is_read() -> None:
    assert position(replace(BEAT, step=0, phase="starting")) == "while starting"
