"""Resolves --model: a Hugging Face name or folder, a run, a checkpoint of a run, or a LoRA adapter."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

ADAPTER_CONFIG = "adapter_config.json"
# Files of a model that are checked before anything is started.
_READ = ("config.json", ADAPTER_CONFIG, "unified_ft.json")
LAST, BEST = "last", "best"
ROOT = Path(__file__).resolve().parents[1]
# The values vLLM accepts as the largest rank of an adapter (vllm.config.lora.MaxLoRARanks).
ENGINE_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# Owners of the model families that people name without their owner.
_PUBLISHERS = {
    "qwen": "Qwen",
    "llama": "meta-llama",
    "meta-llama": "meta-llama",
    "smollm": "HuggingFaceTB",
    "gemma": "google",
    "mistral": "mistralai",
    "ministral": "mistralai",
    "phi": "microsoft",
    "deepseek": "deepseek-ai",
    "olmo": "allenai",
}


class ModelError(ValueError):
    """No weights could be found; the message says where they were looked for."""


@dataclass(frozen=True)
class Weights:
    """A model that vLLM can load: full weights (folder or hub name), and optionally an adapter on top of them."""

    path: str
    adapter: str | None = None

    @property
    def engine_rank(self) -> int:
        """The smallest rank setting of vLLM that fits the adapter. Raises ModelError if there is none."""
        assert self.adapter
        rank = int(json.loads((Path(self.adapter) / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("r", 0))
        fitting = [allowed for allowed in ENGINE_RANKS if allowed >= rank]
        if not fitting:
            raise ModelError(f"{self.adapter}: vLLM takes adapters up to rank {ENGINE_RANKS[-1]}, this one has {rank}")
        return fitting[0]


def find_model(model: str) -> str:
    """A model's path from the working folder: embedded models (models/...) are found from any folder."""
    return str(ROOT / model) if not Path(model).exists() and (ROOT / model / "config.json").is_file() else model


def one_spelling(model: str) -> str:
    """An embedded model, of this checkout or another, as models/NAME, which is how the default is recorded; any other
    text unchanged."""
    # Other relative paths are from where a run was started, which is not known here.
    embedded = str(Path(*Path(model).parts[-2:]))
    return (
        embedded if Path(embedded).parent == Path("models") and (ROOT / embedded / "config.json").is_file() else model
    )


def published_name(model: str) -> str:
    """owner/name for a family known by its name alone (Qwen2.5-1.5B); any other name unchanged."""
    family = re.match(r"(?i)(meta-llama|[a-z]+?)(?=[-\d])[-\w.]*$", model)
    owner = _PUBLISHERS.get(family[1].lower()) if family else None
    return f"{owner}/{model}" if owner else model


def resolve_model(model: str) -> Weights:
    """Find the weights behind a name.

    A run's folder stands for its last weights: the best step was picked on the test problems, so the accuracy of
    hf/best on them is too high. A checkpoint stands for its Hugging Face copy.

    Raises:
        ModelError: for a folder without weights.
    """
    folder = Path(find_model(model))
    if not folder.is_dir():
        return Weights(published_name(model))
    for file in (place / name for place in (folder, *folder.glob("hf/*")) for name in _READ):
        if file.is_file():
            try:
                sound = isinstance(json.loads(file.read_text(encoding="utf-8")), dict)
            except ValueError:
                sound = False
            if not sound:
                raise ModelError(f"--model {model}: {file} is damaged: it holds no JSON object")
    for place in (folder, *(folder / "hf" / part for part in (LAST, BEST))):
        if (place / ADAPTER_CONFIG).exists():
            return _adapter(place)
        if has_weights(place):
            return Weights(str(place.resolve()))
    for place in (folder, folder / "actor"):
        if has_weights(place / "huggingface"):
            return Weights(str((place / "huggingface").resolve()))
        if any(place.glob("model_world_size_*_rank_*.pt")):
            # Pickles can run arbitrary code; our checkpoints also have their weights as safetensors.
            raise ModelError(
                f"--model {model}: {place} has only verl's shards, and loading them runs any code in them. If you "
                f"trust their source: python -m verl.model_merger merge --backend fsdp "
                f"--local_dir {place} --target_dir {place}/huggingface"
            )
    raise ModelError(
        f"--model {model}: no weights in this folder. It may be a Hugging Face model (config.json and *.safetensors), "
        f"a run (hf/last), a checkpoint (checkpoints/global_step_N) or an adapter ({ADAPTER_CONFIG})"
    )


def chosen_weights(weights: Weights) -> str:
    """A description of the weights that were found: for a run the last or the best, with their step."""
    place = Path(weights.adapter or weights.path)
    what = f"{place} on {weights.path}" if weights.adapter else weights.path
    step = _step(place)
    if place.parent.name != "hf" or step is None:
        return what
    if place.name == BEST:
        return f"{what} (step {step}, picked by its accuracy on the validation problems, which is therefore too high)"
    best = _step(place.with_name(BEST))
    other = f"; the highest validation, step {best}, is {place.with_name(BEST)}" if best not in (None, step) else ""
    return f"{what} (the last, step {step}{other})"


def short_title(weights: Weights) -> str:
    """A short name: for a run's weights its folder and their step, else the last part of the path."""
    place = Path(weights.adapter or weights.path)
    step = _step(place)
    if place.parent.name != "hf" or step is None:
        return place.name
    return f"{place.resolve().parents[1].name}, step {step},"


def _step(weights: Path) -> int | None:
    """The training step of published weights; None if unknown."""
    file = weights.with_name(f"{weights.name}.json")
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def has_weights(folder: Path) -> bool:
    """Whether a folder is a Hugging Face model with weights."""
    return (folder / "config.json").exists() and any(
        next(folder.glob(pattern), None) is not None for pattern in ("*.safetensors", "*.bin")
    )


def _adapter(folder: Path) -> Weights:
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{folder / ADAPTER_CONFIG}: no base_model_name_or_path, so its base model is unknown")
    if base.startswith(("/", ".")) and not Path(base).is_dir():
        raise ModelError(f"{folder / ADAPTER_CONFIG}: its base model {base} does not exist on this machine")
    return Weights(base, str(folder.resolve()))
