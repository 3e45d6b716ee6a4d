"""The most common failures of fine-tuning runs: how each looks in a log, and how to fix it.
One row per cause; the first match wins, so specific causes come before general ones."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A known failure. `pattern` is case-insensitive; `fix` says what happened, then what to do.

    `in_log`: a match anywhere in the log is conclusive, not only in the exception that ended the run.
    """

    name: str
    pattern: re.Pattern[str]
    fix: str
    in_log: bool


def cause_of(exception: str) -> Cause | None:
    """The first known cause that matches the text of an exception."""
    return next((cause for cause in CAUSES if cause.pattern.search(exception)), None)


def cause_in_log(text: str) -> Cause | None:
    """The first known cause with a conclusive match in a log; most patterns are harmless outside an exception."""
    return next((cause for cause in CAUSES if cause.in_log and cause.pattern.search(text)), None)


def named(name: str) -> Cause:
    """The cause with this name."""
    return next(cause for cause in CAUSES if cause.name == name)


def _cause(name: str, pattern: str, fix: str, in_log: bool = False) -> Cause:
    return Cause(name, re.compile(pattern, re.IGNORECASE), fix, in_log)


CAUSES: tuple[Cause, ...] = (
    _cause(
        "kv_cache",
        r"No available memory for the cache blocks|KV cache is needed, which is larger than the available",
        "vLLM has no room for its KV cache. Raise --rollout_memory (on a CPU: VLLM_CPU_KVCACHE_SPACE, "
        "in GiB), or lower --max_response_length.",
        in_log=True,
    ),
    _cause(
        "gpu_taken",
        r"Free memory on device .* is less than desired",
        "Other processes are using this GPU's memory (see nvidia-smi). End them, choose other devices with "
        "--visible-devices, or lower --rollout_memory.",
        in_log=True,
    ),
    _cause(
        "cuda_oom",
        r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED"
        r"|CUDA error: out of memory",
        "The GPU's memory is full. If it failed while updating or computing log-probabilities, halve "
        "--tokens_per_micro_batch (the effective batch stays the same; --auto_batch does this by itself, from the last "
        "checkpoint), but not below the longest prompt plus response; if it failed while generating, lower "
        "--rollout_memory by 0.1. If that is not enough: more devices, a smaller --max_response_length, or adapters "
        "(--lora_rank 32). --dry_run shows the memory estimate.",
        in_log=True,
    ),
    _cause(
        "host_oom",
        r"node (was|is)? ?running low on memory|ray\.exceptions\.OutOfMemoryError|Cannot allocate memory"
        r"|\bMemoryError\b|\bENOMEM\b|DefaultCPUAllocator: can't allocate|killed due to memory pressure"
        r"|failed to map segment|std::bad_alloc",
        "The machine's main memory is full. Lower --tokens_per_micro_batch, --batch_size or --max_num_seqs, "
        "use a smaller model, or end other programs.",
        in_log=True,
    ),
    _cause(
        "shared_memory",
        r"/dev/shm[^\n]*(No space|too small|insufficient|not enough)|(No space|ENOSPC)[^\n]*/dev/shm"
        r"|insufficient shared memory|out of shared memory|\bSIGBUS\b|Bus error"
        r"|shared memory object[^\n]*(No space|ENOSPC)",
        "Shared memory (/dev/shm) is full or too small: Ray, vLLM and the weight transfer use it. Start a "
        "container with --shm-size=16g or --ipc=host; elsewhere delete what dead runs left in /dev/shm.",
        in_log=True,
    ),
    _cause(
        "disk_full",
        r"No space left on device|\bENOSPC\b|Errno 28|Disk quota exceeded",
        "The disk (or your quota) is full. Free some space, keep fewer checkpoints (--keep_checkpoints 1), or write "
        "elsewhere with --out. Ray also writes to the temporary folder, which TMPDIR sets.",
        in_log=True,
    ),
    _cause(
        "open_files",
        r"Too many open files|Errno 24",
        "The limit on open files is too low for Ray: run ulimit -n 65535 first.",
        in_log=True,
    ),
    _cause(
        "threads",
        r"can't start new thread|pthread_create failed|Errno 11\] Resource temporarily unavailable"
        r"|fork: retry: Resource",
        "The limit on processes and threads is reached: raise it (ulimit -u, or the container's pids limit), "
        "or end other programs.",
        in_log=True,
    ),
    _cause(
        "port_in_use",
        r"Address already in use|EADDRINUSE|Errno 98|errno: 98",
        "A network port is in use, most often by another run on this machine. Start again; if it happens again, "
        "end the other run, or set MASTER_PORT to a free port.",
        in_log=True,
    ),
    _cause(
        "nvls",
        r"\bNVLS\b[^\n]*(fail|error|401)|Cuda failure 401",
        "NCCL's multicast over NVSwitch failed: usually Fabric Manager is not running, or its version differs from the "
        "driver's. Start it, or go without: NCCL_NVLS_ENABLE=0 in the environment.",
        in_log=True,
    ),
    _cause(
        "fabric",
        r"Error 802\b|system not yet initialized|CUDA_ERROR_SYSTEM_NOT_READY|cudaErrorSystemNotReady",
        "The GPUs of this machine are connected by NVSwitch, and Fabric Manager has not initialised it: it is not "
        "running, or its version differs from the driver's. Check systemctl status nvidia-fabricmanager, install the "
        "driver version that nvidia-smi shows, start it (in a container: on the host), and check with "
        "python3 -m recipes.doctor.",
        in_log=True,
    ),
    _cause(
        "collective",
        r"Watchdog caught collective operation timeout|\bnccl\w*Error|NCCL (error|WARN|timeout)"
        r"|DistBackendError|DistStoreError|gloo[^\n]*(timed? ?out|Connection (closed|reset))"
        r"|Timed out waiting \d+ms for (recv|send|recvBuffer|sendBuffer)|Connection closed by peer \[",
        "The devices lost contact: one rank died or fell behind, or their network is not set up. If the log "
        "has an earlier exception, fix that. Otherwise set NCCL_DEBUG=INFO and, with several network cards, "
        "NCCL_SOCKET_IFNAME (GLOO_SOCKET_IFNAME on the CPU).",
        in_log=True,
    ),
    _cause(
        "gated",
        r"GatedRepoError|Access to model .* is restricted|401 Client Error|403 Client Error"
        r"|awaiting a review from the repo",
        "The model hub refuses access. Accept the model's licence on its page, then log in with `hf auth "
        "login` (or set HF_TOKEN).",
    ),
    _cause(
        "hub_unreachable",
        r"couldn't connect to '?https?://|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|Max retries exceeded with url|Name or service not known|Temporary failure in name resolution"
        r"|NewConnectionError|Network is unreachable"
        r"|cannot (find|locate) the (requested|appropriate) files? in the (local|disk) cache"
        r"|httpx\.Connect(Error|Timeout)",
        "The model hub cannot be reached from here. Download the model on a machine with network access and "
        "pass its folder with --model.",
    ),
    _cause(
        "model_path",
        r"is not a local folder and is not a valid model identifier|Repo id must (be|use)|HFValidationError"
        r"|RepositoryNotFoundError|does not appear to have a file named|no file named [^\n]*(safetensors|bin)"
        r"|Unrecognized model in|Can't load (the )?(tokenizer|configuration|model)|Incorrect path_or_model_id",
        "--model must be a name on the Hugging Face hub or a folder with config.json, the weights "
        "(*.safetensors) and the tokenizer. Check the spelling, and that the folder is complete.",
    ),
    _cause(
        "column",
        r"KeyError: '(prompt|hint|answer|data_source|reward_model|extra_info|ground_truth|ability)'"
        r"|No match for FieldRef"
        r"|(column|field)s? [^\n]{0,80}(not found|does not exist|do not exist|missing|not in (index|the))"
        r"|missing (the )?columns?|needs the column",
        "The data file lacks a column. It needs prompt, hint, answer, data_source, reward_model and "
        "extra_info; the docs show how to convert your own data.",
    ),
    _cause(
        "no_rows",
        r"num_samples should be a positive integer value, but got num_samples=0",
        "No rows are left to train on: every prompt is longer than --max_prompt_length. Raise it, or choose a shorter "
        "--prompt_style.",
    ),
    _cause(
        "reward",
        r"RewardFailure|reward (errors?|function)[^\n]*(above|over|exceed|failed|limit)|could not be scored",
        "The reward function failed on too many answers to learn from the rest. They are in the run's rollouts/, with "
        "the error in `pred`: fix the reward or the rows' ground truth, or give it more time (REWARD_SECONDS).",
        in_log=True,
    ),
    _cause(
        "hydra",
        r"ConfigAttributeError|ConfigCompositionException|Could not override|is not in struct"
        r"|OverrideParseException",
        "A verl override after -- is wrong. Check its name against verl's configuration; a new key needs a + in front.",
    ),
    _cause(
        "driver",
        r"driver on your system is too old|CUDA driver initialization failed|CUDA driver version is insufficient"
        r"|forward compatibility was attempted",
        "The NVIDIA driver is too old for CUDA 13 or does not start: install driver 580 or newer (on a data-centre "
        "card the package cuda-compat-13-0 also works), and check that nvidia-smi lists the cards. "
        "python3 -m recipes.doctor tries them.",
        in_log=True,
    ),
    _cause(
        "card",
        r"no kernel image is available|Bfloat16 is only supported on GPUs with compute capability",
        "This card is too old: bfloat16 and the installed kernels need compute capability 8.0 (A100, RTX 30, or "
        "newer). Choose another with --visible-devices.",
        in_log=True,
    ),
    _cause(
        "compiler",
        r"Failed to find C compiler|fatal error: Python\.h|InvalidCxxCompiler",
        "vLLM compiles some code at startup, and this machine lacks a C compiler or Python's headers: "
        "apt install build-essential python3-dev (python3.11-dev or python3.12-dev for a non-system Python).",
        in_log=True,
    ),
    _cause(
        "too_few_gpus",
        r"Total available GPUs .* is less than total desired|No CUDA GPUs are available|Found no NVIDIA driver"
        r"|invalid device ordinal|Failed to infer device type",
        "Fewer GPUs are usable than requested. Compare --n_gpu and --visible-devices with nvidia-smi, and the "
        "driver's CUDA version with torch's.",
    ),
    _cause(
        "missing_module",
        r"ModuleNotFoundError|No module named|cannot import name|undefined symbol",
        "The installed packages are incompatible. Run ./install.sh again; it restores the pinned versions.",
    ),
    _cause(
        "large_weight",
        r"is too large to fit in the bucket",
        "One weight is larger than the buffer that transfers weights to vLLM. Raise it, in MiB: "
        "-- actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=1024",
        in_log=True,
    ),
    _cause(
        "weight_sync",
        r"receive_weights|update_weights|BucketedWeight|weight_loader|sync[_ ]weights|update_weights_from",
        "Sending the trained weights to vLLM failed. If it happens at the first step, this vLLM cannot reload "
        "the model's architecture or quantisation; otherwise memory or /dev/shm ran out.",
    ),
    _cause(
        "permission",
        r"PermissionError|Permission denied|Errno 13\b|Read-only file system",
        "A file or folder is not readable or writable. Choose another place with --out, or change its owner.",
    ),
    _cause(
        "engine_dead",
        r"EngineDeadError|EngineCore encountered|engine core exited unexpectedly"
        r"|Worker proc \S+ died unexpectedly|EngineCore failed to start|Engine core initialization failed",
        "vLLM's engine died without giving a reason. The usual one is memory: lower --rollout_memory or "
        "--max_num_seqs.",
        in_log=True,
    ),
)
