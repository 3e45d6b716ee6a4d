"""What a run needs besides its GPUs: CPU cores, memory, and disk space for its checkpoints."""

from recipes.common.errors import ExperimentError
from recipes.common.machine import cores, gpu_count, gpu_memory_gb, main_memory
from recipes.estimate.memory import GB, estimate_memory, shards, supervised_alone
from recipes.estimate.model_shapes import known_shape
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named


def ray_cpus(n_gpu: int) -> int:
    """CPU cores that verl requests from Ray per node: three per GPU, three for its data plane, one for the rest."""
    return 3 * n_gpu + 4


def few_cores(experiment: Experiment) -> str | None:
    """A note if the machine has fewer cores than a run keeps busy; else None."""
    e, there = experiment, cores()
    if e.device != "cuda" or "rl" not in e.stages or there >= ray_cpus(e.n_gpu) or gpu_count() < e.n_gpu:
        return None
    return (
        f"{there} cores for {e.n_gpu} GPU(s), where up to {ray_cpus(e.n_gpu)} processes are busy at once: rollouts and "
        f"rewards will wait for each other"
    )


def small_cards(experiment: Experiment) -> str | None:
    """A note if the machine's GPUs have less memory than the profile's; else None."""
    e, wanted = experiment, profile_named(experiment.profile).memory_gb
    if e.device != "cuda" or gpu_count() < e.n_gpu:
        return None
    here = gpu_memory_gb()
    lower = "--micro_batch_size" if e.stages == ("alignment",) else "--tokens_per_micro_batch"
    lower += " or --rollout_memory" if "rl" in e.stages else ""
    # Error correction takes about 1 % of some cards' nominal memory.
    if here is None or here > 0.97 * wanted:
        return None
    hide = "hide that card (CUDA_VISIBLE_DEVICES), or " if gpu_count() > 1 else ""
    return (
        f"the smallest GPU here has {here:.0f} GB, and --profile {e.profile} is for {wanted:.0f} GB: the run may not "
        f"fit even if the figures below say so; {hide}lower {lower}"
    )


def held_bytes(experiment: Experiment) -> float:
    """Minimum bytes held by a device (on the CPU: by all processes together); 0 if the model's shape is unknown.

    For N parameters of which n are trained: weights 4 N (N/2 or N in 4 or 8 bits), gradients 4 n and Adam 8 n; the same
    again for ppo's critic; on the CPU also the engine's weights, which are not offloaded there.
    """
    e, shape = experiment, known_shape(experiment.model)
    if shape is None:
        return 0.0
    adapters = shape.lora_parameters(e.lora_rank) if e.lora_rank else 0
    width = e.alignment.bits / 8 or (2 if adapters and e.device == "cuda" and e.stages == ("alignment",) else 4)
    held = width * shape.parameters + 4 * adapters + 12 * (adapters or shape.parameters)
    held *= 2 if "rl" in e.stages and "critic" in e.algorithm.needs else 1
    if e.device == "cpu":
        return held + (4 * shape.parameters if "rl" in e.stages else 0)
    alone = supervised_alone(e)
    return held / (shards(alone) if alone else shards(e))


def refuse_too_large(experiment: Experiment) -> None:
    """Raise ExperimentError if a model's weights, gradients and moments alone exceed the memory."""
    e, held = experiment, held_bytes(experiment)
    on_cpu = e.device == "cpu"
    there = float(main_memory() or 0) if on_cpu else _device_gb(e) * GB
    if not 0 < there < held:
        _refuse_no_cache(e)
        return
    less = "" if e.lora_rank else ", train adapters (--lora_rank 32)"
    of_profile = there == profile_named(e.profile).memory_gb * GB
    where = f"a device of --profile {e.profile} has" if of_profile else "the smallest GPU here has"
    more, of = "more devices", ""
    if on_cpu:
        where, more = "this machine has", "a machine with more"
    elif supervised_alone(e):
        more, of = "more devices per node (--n_gpu)", " of the supervised stage, on the first node alone,"
    raise ExperimentError(
        f"--model {e.model}: does not fit: weights, gradients and optimizer{of} take {held / GB:.0f} GB, before any "
        f"activation, and {where} {there / GB:.0f} GB. Use a smaller model{less}, or {more}"
    )


def _device_gb(e: Experiment) -> float:
    """Memory of the profile's device, or of the smallest local GPU if the run will use these and it has less."""
    named = profile_named(e.profile).memory_gb
    here = gpu_memory_gb() if e.nnodes == 1 and gpu_count() >= e.n_gpu else None
    return min(named, here or named)


def _refuse_no_cache(e: Experiment) -> None:
    """Raise ExperimentError if the engine's cache cannot hold a sequence: vLLM would exit a minute after the start. As
    the size is an estimate, half a sequence is enough."""
    shape, longest = known_shape(e.model), e.prompt_length + e.response_length
    if e.device != "cuda" or "rl" not in e.stages or shape is None:
        return
    if (room := estimate_memory(e, shape).kv_tokens) < longest / 2:
        raise ExperimentError(
            f"--rollout_memory {e.rollout_memory:g}: the engine's share of a device of --profile {e.profile} holds the "
            f"weights of {e.model} and {f'{room:,} tokens' if room else 'no token'}, and a sequence may have "
            f"{longest:,}; increase it, or use more devices per copy (--tp_size)"
        )


def checkpoint_bytes(experiment: Experiment) -> float:
    """Bytes of a checkpoint; 0 if the model's shape is unknown.

    For N parameters of which n are trained: weights 4 (N + adapters) and Adam 8 n to resume from, the same for the
    critic, and the Hugging Face folder, 4 N or 2 N. TRL saves only trained weights and their moments, 12 n.
    """
    e, shape = experiment, known_shape(experiment.model)
    if shape is None:
        return 0.0
    adapters = shape.lora_parameters(e.lora_rank) if e.lora_rank else 0
    if e.stages == ("alignment",):
        return 12.0 * (adapters or shape.parameters)
    trained = 4 * (shape.parameters + adapters) + 8 * (adapters or shape.parameters)
    return trained * (2 if "critic" in e.algorithm.needs else 1) + published_bytes(e)


def published_bytes(experiment: Experiment) -> float:
    """Bytes of a step's Hugging Face folder."""
    e, shape = experiment, known_shape(experiment.model)
    dtype = e.dtype if e.stages == ("alignment",) else e.hf_dtype
    return 0.0 if shape is None else float((2 if dtype == "bfloat16" else 4) * shape.parameters)


def disk_bytes(experiment: Experiment) -> float:
    """Peak size of a run's folder. Per stage: the kept checkpoints, one being written, and a copy of the weights
    (hf/best once its checkpoint is deleted; hf/last when training on answers)."""
    e, each = experiment, checkpoint_bytes(experiment)
    return len(e.stages) * ((e.keep_checkpoints + 1) * each + published_bytes(e)) if each else 0.0


def describe_disk(experiment: Experiment) -> str | None:
    """A line of --dry_run; None below one gigabyte or if unknown."""
    total = disk_bytes(experiment)
    if total < GB:
        return None
    each = size_text(checkpoint_bytes(experiment))
    kept, copy = experiment.keep_checkpoints, "hf/last" if experiment.stages == ("alignment",) else "hf/best"
    return (
        f"disk:          up to {size_text(total)} in the run's folder: checkpoints of {each}, {kept} kept and one "
        f"being written, and {copy}"
    )


def size_text(count: float) -> str:
    """A readable number of bytes."""
    return f"{count / GB:.0f} GB" if count >= GB else f"{count / 1e6:.0f} MB"
