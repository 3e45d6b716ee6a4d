"""The diagnosis: from the end of a log, as Ray, vLLM and torchrun write it, to one paragraph with cause and fix."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from recipes.watch.diagnose import Facts, diagnose, explains, full_disks, position
from recipes.watch.heartbeat import Heartbeat
from recipes.watch.signs import WEIGHTS_LOST
from recipes.watch.tracebacks import root_exception

LOG = Path("out/x/log.txt")
BEAT = Heartbeat(step=12, total_steps=500, phase="update", time=0.0)

RAY_ERROR = """\
\x1b[36m(TaskRunner pid=8659)\x1b[0m step:11 - critic/score/mean:0.2
\x1b[36m(WorkerDict pid=9142)\x1b[0m Loading weights: 100%|##########| 26/26 [00:00<00:00, 22681.34it/s]
Error executing job with overrides: ['trainer.device=cuda']
Traceback (most recent call last):
  File "/home/u/recipes/verl_plugin/main.py", line 40, in main
    ray.get(runner.run.remote(config))
  File "/home/u/.venv/lib/python3.11/site-packages/ray/_private/worker.py", line 3009, in get
    values, debugger_breakpoint = worker.get_objects(
                                  ^^^^^^^^^^^^^^^^^^^
ray.exceptions.RayTaskError({short}): \x1b[36mray::Runner.run()\x1b[39m (pid=8659, ip=10.0.0.2, repr=<t>)
  File "/home/u/recipes/verl_plugin/trainer.py", line 77, in run
    trainer.fit()
           ^^^^^^^
ray.exceptions.RayTaskError({short}): \x1b[36mray::WorkerDict.update()\x1b[39m (pid=9142, ip=10.0.0.2, repr=<w>)
  File "/home/u/{file}", line 7, in {function}
    loss.backward()
    ^^^^^^^^^^^^^^^
{error}
"""


def ray_error(error: str, file: str = "actor.py", function: str = "update") -> str:
    kind = error.partition(":")[0]
    return RAY_ERROR.format(error=error, short=kind.rpartition(".")[2], file=file, function=function)


RUNNER = "\x1b[36m(TaskRunner pid=8659)\x1b[0m "
ENGINE = "\x1b[36m(vLLMHttpServer pid=9311)\x1b[0m (EngineCore pid=9411) ERROR 11-21 09:01:43 [core.py:1348] "
VLLM_ERROR = f"""\
{ENGINE}EngineCore encountered a fatal error.
{ENGINE}Traceback (most recent call last):
{RUNNER}a line of another process in between
{ENGINE}  File "/v/core.py", line 1340, in run_engine_core
{ENGINE}    engine_core.run_busy_loop()
{ENGINE}ValueError: the scheduler gave 3 tokens, not 2
{RUNNER}Traceback (most recent call last):
{RUNNER}  File "/v/async_llm.py", line 305, in generate
{RUNNER}    raise EngineDeadError()
{RUNNER}vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace.
"""

ACTOR_DIED = """\
Traceback (most recent call last):
  File "/home/u/main.py", line 22, in <module>
    ray.get(a.step.remote())
ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
\tclass_name: WorkerDict
\tpid: 5778
The actor is dead because its worker process has died. Worker exit detail: Worker unexpectedly exits with a connection
error code 2. Some common causes include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray
stop --force was called, (3) the worker crashed unexpectedly due to SIGSEGV or other unexpected errors.
"""

TORCHRUN = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "/home/u/sft.py", line 3, in <module>
[rank0]:     read(rows)
[rank0]: KeyError: 'answer'
E1121 09:00:00.000000 10 site-packages/torch/distributed/elastic/multiprocessing/api.py:984] failed (exitcode: 1)
Traceback (most recent call last):
  File "/home/u/.venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
sft.py FAILED
"""


def failed(log: str, exit_code: int | None = 1, **facts: object) -> str:
    return diagnose(log, Facts("uft on countdown", "failed", LOG, exit_code, BEAT, **facts))  # type: ignore[arg-type]


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


def test_an_unknown_exception_is_quoted_and_nothing_is_guessed() -> None:
    paragraph = failed(ray_error("ZeroDivisionError: division by zero"))
    assert paragraph.endswith("The cause: ZeroDivisionError: division by zero. The full output is in out/x/log.txt.")


def test_a_failed_weight_sync_is_known_by_its_frames() -> None:
    log = ray_error("RuntimeError: shape mismatch", file="bucketed.py", function="receive_weights")
    assert "Sending the trained weights to vLLM failed" in failed(log)


def test_a_weight_sync_that_failed_in_the_engine_ends_with_the_engine_s_words() -> None:
    """The trainer's end hangs meanwhile; the exception stands in the lines of vLLM's worker."""
    who = "(Worker pid=9) "
    log = "\n".join(
        who + line
        for line in (
            "Traceback (most recent call last):",
            '  File "/v/weight_sync.py", line 55, in update_weights_from_ipc',
            "    super().update_weights_from_ipc(*args, **kwargs)",
            "ValueError: There is no module or parameter named 'lm_head' in LlamaForCausalLM",
            WEIGHTS_LOST,
        )
    )
    paragraph = failed(log)
    assert "no module or parameter named 'lm_head'" in paragraph
    assert "Sending the trained weights to vLLM failed" in paragraph


def test_the_engine_s_own_exception_wins_over_the_report_of_its_death() -> None:
    assert "The cause: ValueError: the scheduler gave 3 tokens, not 2." in failed(VLLM_ERROR)


def test_an_engine_that_died_without_a_word() -> None:
    quiet = "\n".join(line for line in VLLM_ERROR.splitlines() if "EngineCore pid" not in line)
    paragraph = failed(quiet)
    assert "vLLM's engine died without giving a reason" in paragraph
    assert "The cause:" not in paragraph


def test_ray_s_list_of_possible_causes_is_no_cause() -> None:
    paragraph = failed(ACTOR_DIED)
    assert "The log says only: ray.exceptions.ActorDiedError: The actor died unexpectedly" in paragraph
    assert "memory is full" not in paragraph


def test_torchrun_s_summary_does_not_hide_the_rank_s_exception() -> None:
    assert "The cause: KeyError: 'answer'. The data file lacks a column." in failed(TORCHRUN)


def test_the_last_exception_of_the_first_chain_is_shown() -> None:
    log = """\
Traceback (most recent call last):
  File "a.py", line 1, in f
    x
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "a.py", line 2, in g
    f()
OSError: the file is
  broken in two lines

Traceback (most recent call last):
  File "b.py", line 2, in later
    f()
RuntimeError: a consequence
"""
    raised = root_exception(log)
    assert raised is not None
    assert str(raised) == "OSError: the file is broken in two lines"


def test_ray_prints_some_remote_tracebacks_without_a_header() -> None:
    log = """\
2026-11-21 09:00:00,000\tERROR worker.py:421 -- Unhandled error: ray::Loop.score() (pid=5, ip=10.0.0.2)
  File "/a/loop.py", line 7, in score
    raise ValueError("no such task")
ValueError: no such task
"""
    assert str(root_exception(log)) == "ValueError: no such task"


@pytest.mark.parametrize(
    "text", ["", "all is well\n", "Traceback (most recent call last):\n", "  File\nKeyError: 'x'\n", "\x1b[31m"]
)
def test_a_log_without_an_exception_has_none(text: str) -> None:
    assert root_exception(text) is None


def test_harmless_warnings_are_no_reason() -> None:
    log = """\
UserWarning: torchtitan engine is not available: ModuleNotFoundError("No module named 'torchtitan'")
PermissionError was ignored while removing a temporary file
Warning: Failed to set NUMA affinity: libnuma.so: cannot open shared object file: No such file or directory
"""
    assert not explains(log)
    assert "./install.sh" not in failed(log)
    assert "The log has no exception; its last line: Warning: Failed to set NUMA affinity" in failed(log)


def test_what_is_no_exception_is_told_by_its_last_line() -> None:
    """A stage that says one clear line and ends with exit code 2."""
    said = f"{RUNNER}loading\n\x1b[31mlm-evaluation-harness is not installed: pip install it\x1b[0m\n\n"
    assert "its last line: lm-evaluation-harness is not installed: pip install it. The full" in failed(said)
    assert "The log is empty." in failed("\n")


def test_a_kill_from_outside_is_most_often_for_memory() -> None:
    paragraph = failed("step:12\n", exit_code=-9)
    assert "failed (killed by SIGKILL)" in paragraph
    assert "by the kernel because memory ran out" in paragraph


def test_a_bus_error_after_the_raylets_end_is_no_full_memory() -> None:
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


def test_a_kill_for_memory_that_the_kernel_counted_is_certain() -> None:
    assert "The kernel killed 2 of this machine's processes" in failed(ACTOR_DIED, oom_kills=2)


def test_a_kill_for_memory_is_why_a_worker_fell_silent_and_not_why_a_value_is_wrong() -> None:
    dead = failed(ray_error("RuntimeError: gloo: Connection closed by peer [127.0.0.1]:31234"), oom_kills=1)
    assert "The kernel killed 1 of this machine's processes" in dead
    other = failed(ray_error("ValueError: shapes differ"), oom_kills=1)
    assert "kernel" not in other


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


def test_a_bus_error_is_shared_memory() -> None:
    assert "--shm-size" in failed("step:12\n", exit_code=-7)


def test_a_stall_says_where_it_waits() -> None:
    stack = [f"frame{i} (f.py:{i})" for i in range(9)]
    facts = Facts("uft", "stalled", LOG, None, BEAT, quiet_s=1200.0, dead=("VLLM::EngineCore",), stack=stack)
    paragraph = diagnose("step:12\n", facts)
    assert (
        "made no progress for 20 min 00 s and was stopped after 12 of 500 steps, while updating the policy."
        in paragraph
    )
    assert "Before that, VLLM::EngineCore had ended." in paragraph
    assert "It waits in frame0 (f.py:0) < frame1 (f.py:1)" in paragraph
    assert "frame6" not in paragraph
    assert "--stall_minutes" in paragraph


def test_a_lost_worker_is_named() -> None:
    facts = Facts("uft", "lost_worker", LOG, None, BEAT, quiet_s=25.0, dead=("ray::WorkerDict", "ray::WorkerDict"))
    assert "lost ray::WorkerDict, without which verl hangs, and was stopped" in diagnose("", facts)


def test_a_run_that_never_got_going() -> None:
    facts = Facts("uft", "failed", LOG, 1)
    assert "while starting, before the first sign of life from the trainer" in diagnose("", facts)


def test_a_resumed_run_is_not_said_to_have_made_no_step_before_its_checkpoint_is_read() -> None:
    assert position(replace(BEAT, step=0, phase="starting")) == "while starting"


def test_long_messages_are_cut() -> None:
    raised = root_exception(ray_error("ValueError: " + "x" * 5000))
    assert raised is not None
    assert len(str(raised)) <= 400


def test_verls_word_for_failed_rollouts_does_not_hide_the_dead_engine() -> None:
    log = (
        "(AgentLoopWorkerTQ pid=7) Traceback (most recent call last):\n"
        '(AgentLoopWorkerTQ pid=7)   File "engine.py", line 1, in generate\n'
        "(AgentLoopWorkerTQ pid=7) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. "
        "See stack trace (above) for the root cause.\n"
        "Traceback (most recent call last):\n"
        '  File "replay_buffer.py", line 9, in sample\n'
        "RuntimeError: Sync replay buffer selected terminal groups with no materializable trajectories.\n"
    )
    said = diagnose(log, Facts(title="rft", reason="failed", log=Path("log.txt"), exit_code=1))
    assert "engine died" in said
    assert "materializable" not in said
