"""Hardware profiles, from a laptop to a rack: sizes and numerics, never logic."""

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Profile:
    """Defaults for a machine; each has a flag that overrides it."""

    name: str
    """Value of --profile."""

    title: str
    """One line for tables."""

    device: Literal["cpu", "cuda"]
    """Device used by verl and vLLM."""

    # Defaults of the settings with these names in recipes/settings/experiment.py.
    n_gpu: int
    model: str
    dtype: Literal["float32", "bfloat16"]
    tokens_per_micro_batch: int
    rollout_memory: float
    max_num_seqs: int
    T: int = 500
    T_hint: int = 300
    batch_size: int = 256
    mini_batch_size: int = 64
    n_rollout: int = 4
    lr: float = 1e-6
    critic_lr: float = 1e-5
    sft_lr: float = 1e-5
    sft_epochs: int = 5
    test_freq: int = 25
    lora_rank: int = 0

    memory_gb: float = 0.0
    """Memory of one device in GB (10^9 bytes); 0 for the CPU, whose memory all processes share."""

    alignment: dict[str, Any] = field(default_factory=dict)
    """Overrides of the alignment stages' defaults."""

    lengths: dict[str, dict[str, int]] = field(default_factory=dict)
    """Overrides of the tasks' token limits, by task."""

    models: dict[str, str] = field(default_factory=dict)
    """Default models of tasks that need another than `model`."""

    data_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arguments of the data generators, by task."""

    def model_of(self, data: str | None) -> str:
        """The default model for --data."""
        return self.models.get(data or "", self.model)


# Sizes of the UFT repository's published files.
_REFERENCE_DATA: dict[str, dict[str, Any]] = {
    "countdown": {"n_train": 10240, "n_test": 1024},
    "kk_logic": {"n_train": 4500, "n_test": 500, "people": [3, 4, 5, 6, 7]},
    "chain": {"n_train": 4096, "n_test": 256, "rule": "sum", "states": 4, "depth": 10, "test_depths": [], "table": 0},
    "math": {"n_test": 1024, "levels": [3, 4, 5]},
    "others": {},
    "countdown_preference": {"n_train": 1024, "n_test": 128},
}

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="cpu",
            title="no GPU: the embedded tiny base model on easy problems, same code path",
            device="cpu",
            n_gpu=1,
            model="models/tiny-countdown",
            models={"chain": "models/tiny-chain-q40"},
            dtype="float32",
            tokens_per_micro_batch=8192,
            rollout_memory=0.1,
            max_num_seqs=128,
            T=30,
            T_hint=18,
            batch_size=32,
            mini_batch_size=32,
            lr=5e-4,
            critic_lr=1e-3,
            sft_lr=1e-3,
            sft_epochs=1,
            test_freq=5,
            alignment={"lr": 5e-4, "epochs": 1.0, "batch_size": 32, "micro_batch_size": 32, "max_length": 256},
            lengths={
                "countdown": {"max_hint_length": 64, "max_response_length": 64},
                "countdown_preference": {"max_hint_length": 64, "max_response_length": 64},
                "kk_logic": {"max_hint_length": 384, "max_response_length": 128},
                "chain": {"max_prompt_length": 128, "max_hint_length": 64, "max_response_length": 64},
                "math": {"max_hint_length": 384, "max_response_length": 128},
                "others": {"max_response_length": 128},
            },
            data_options={
                "countdown": {"n_train": 4096, "n_test": 256, "sizes": [3], "max_number": 30, "operators": "+-"},
                "kk_logic": {"n_train": 1024, "n_test": 64, "people": [3]},
                "chain": _REFERENCE_DATA["chain"],
                "math": {"n_test": 64, "levels": [3, 4, 5]},
                "others": {},
                "countdown_preference": {"n_train": 1024, "n_test": 128},
            },
        ),
        Profile(
            name="1x24gb",
            title="one GPU with 24 GB: 0.5-1.5B, adapters (LoRA)",
            device="cuda",
            n_gpu=1,
            memory_gb=24,
            model="Qwen/Qwen2.5-1.5B",
            dtype="bfloat16",
            tokens_per_micro_batch=8192,
            rollout_memory=0.45,
            max_num_seqs=256,
            lora_rank=32,
            # Adapters need about ten times the rate of all weights (Schulman et al., "LoRA Without Regret", 2025).
            lr=1e-5,
            sft_lr=1e-4,
            data_options=_REFERENCE_DATA,
        ),
        Profile(
            name="1x80gb",
            title="one H100/A100 80 GB: 0.5-1.5B, all weights",
            device="cuda",
            n_gpu=1,
            memory_gb=80,
            model="Qwen/Qwen2.5-1.5B",
            dtype="bfloat16",
            tokens_per_micro_batch=32768,
            rollout_memory=0.5,
            max_num_seqs=1024,
            data_options=_REFERENCE_DATA,
        ),
        Profile(
            name="h100x2",
            title="two H100: the UFT paper's 0.5B, 1.5B, Llama-3.2-1B",
            device="cuda",
            n_gpu=2,
            memory_gb=80,
            model="Qwen/Qwen2.5-1.5B",
            dtype="bfloat16",
            tokens_per_micro_batch=32768,
            rollout_memory=0.5,
            max_num_seqs=1024,
            data_options=_REFERENCE_DATA,
        ),
        Profile(
            name="h100x4",
            title="four H100: the UFT paper's 3B models",
            device="cuda",
            n_gpu=4,
            memory_gb=80,
            model="Qwen/Qwen2.5-3B",
            dtype="bfloat16",
            tokens_per_micro_batch=24576,
            rollout_memory=0.5,
            max_num_seqs=1024,
            data_options=_REFERENCE_DATA,
        ),
        Profile(
            name="h100x8",
            title="eight H100: 7B",
            device="cuda",
            n_gpu=8,
            memory_gb=80,
            model="Qwen/Qwen2.5-7B",
            dtype="bfloat16",
            tokens_per_micro_batch=16384,
            rollout_memory=0.5,
            max_num_seqs=1024,
            data_options=_REFERENCE_DATA,
        ),
    )
}


OF_THE_MODEL = ("lr", "critic_lr", "sft_lr", "sft_epochs", "T", "T_hint", "test_freq")
"""Values the CPU profile sets for models under a million parameters, besides lengths and alignment settings."""


def for_published(profile: Profile) -> Profile:
    """The profile for a published model: the UFT paper's rates, steps and lengths with the machine's sizes."""
    if profile.device != "cpu":
        return profile
    papers: dict[str, Any] = {each.name: each.default for each in fields(Profile) if each.name in OF_THE_MODEL}
    return replace(profile, lengths={}, alignment={}, **papers)


# Nominal GPU memory in GB for which sizes are known.
_CARDS = (24, 40, 48, 80)


def profile_named(name: str) -> Profile:
    """The profile of that name: one in PROFILES, or <cards>x<GB>gb for any number of cards of a known size (8x40gb).

    Raises:
        KeyError: for any other name.
    """
    found = re.fullmatch(r"([1-9]\d*)x(\d+)gb", name)
    if name in PROFILES or found is None or int(found[2]) not in _CARDS:
        return PROFILES[name]
    return _profile_of(int(found[1]), int(found[2]))


def _profile_of(gpus: int, memory_gb: int) -> Profile:
    """The profile for that many cards of a known size, with a name of its own if none in PROFILES fits."""
    cuda = [each for each in PROFILES.values() if each.device == "cuda" and each.n_gpu <= gpus]
    same = [each for each in cuda if each.memory_gb == memory_gb]
    nearest = max(same or [PROFILES["1x24gb"]], key=lambda each: each.n_gpu)
    if nearest.memory_gb == memory_gb == max(_CARDS) or (nearest.n_gpu, nearest.memory_gb) == (gpus, memory_gb):
        # One in PROFILES, with all of the machine's cards.
        return nearest if nearest.n_gpu == gpus else replace(nearest, n_gpu=gpus)
    # The default model's weights, gradients and moments are 25 GB, sharded over the cards.
    base = PROFILES["1x80gb"] if gpus * memory_gb >= 80 else PROFILES["1x24gb"]
    small = memory_gb < 40
    return replace(
        base,
        name=f"{gpus}x{memory_gb}gb",
        title=f"{gpus} GPU(s) with {memory_gb} GB: 0.5-1.5B, {'adapters (LoRA)' if base.lora_rank else 'all weights'}",
        n_gpu=gpus,
        memory_gb=memory_gb,
        tokens_per_micro_batch=8192 if small else 16384,
        rollout_memory=0.45,
        max_num_seqs=256 if small else 512,
    )


def detect_profile(gpus: int, memory_gb: float | None = None) -> Profile:
    """The profile for a machine with that many GPUs of that memory (None: unknown); it uses all of them."""
    if not gpus:
        return PROFILES["cpu"]
    # Usable memory is a little below the nominal size, in either unit.
    room = float("inf") if memory_gb is None else memory_gb * 1.1
    return _profile_of(gpus, max((size for size in _CARDS if size <= room), default=min(_CARDS)))


def share_evenly(profile: Profile, given: dict[str, Any], ranks: int) -> tuple[int, int]:
    """(batch_size, mini_batch_size) in prompts that `ranks` devices can share, closest to the profile's.

    Both are multiples of the number of devices, and mini-batches divide a batch. Values in `given` are kept even if
    nothing fits them; `recipes.checks.experiment_check.check` then refuses them.
    """
    ranks = max(1, ranks)
    batch = given.get("batch_size", profile.batch_size)
    wanted = given.get("mini_batch_size", min(profile.mini_batch_size, batch))
    if "mini_batch_size" in given:
        mini = wanted
    elif "batch_size" in given:
        rollouts = given.get("n_rollout", profile.n_rollout)
        shared = [size for size in range(1, batch + 1) if batch % size == 0 and size * rollouts % ranks == 0]
        mini = min(shared or [wanted], key=lambda size: abs(size - wanted))
    else:
        mini = max(1, round(wanted / ranks)) * ranks
    return (batch, mini) if "batch_size" in given else (max(1, round(batch / mini)) * mini, mini)
