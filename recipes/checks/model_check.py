"""Refuses models, by their files, that would make a run fail a minute after its start."""

from pathlib import Path
from typing import Any

from data_prep.prompt_styles import STYLES
from eval.models import find_model
from recipes.common.errors import ExperimentError
from recipes.data.stored_template import stored_template
from recipes.estimate.config_fields import number, section, texts, whole
from recipes.estimate.model_shapes import config_of, decoder_of
from recipes.settings.experiment import Experiment
from recipes.settings.tasks import validated_on

# Families whose transformers configurations have no num_key_value_heads, which verl needs to build a model.
# tests/contract/test_models_verl_takes.py checks each against transformers.
NOT_VERLS = (
    *("biogpt", "bloom", "codegen", "falcon", "falcon_mamba", "gpt-sw3", "gpt2", "gpt_neo", "gpt_neox", "gptj"),
    *("mamba", "mamba2", "mpt", "openai-gpt", "opt", "persimmon", "rwkv", "xglm"),
)
HEADS_ON_CPU = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Attention head sizes that vLLM supports on a CPU; the same test compares them with vLLM's."""

_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
_GENERATES = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
_STRETCHED = ("yarn", "linear", "dynamic")
_OF_LFS = b"version https://git-lfs"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "spiece.model")


def refuse_model(experiment: Experiment, *, trains: bool = True) -> None:
    """Raise ExperimentError for a model that verl or vLLM does not support, or not with these lengths and this style.

    Args:
        trains: False if it is only evaluated.
    """
    e, config = experiment, config_of(experiment.model)
    _refuse_files(e.model)
    style = STYLES[e.prompt_style]
    if style.chat and (template := stored_template(e.model)) is not None:
        try:
            style.template(template)
        except ValueError as error:
            raise ExperimentError(f"--model {e.model}: {error}") from None
    if config is None:
        return
    kind, decoder = str(config.get("model_type", "")), decoder_of(config)
    on_verl = bool({"rl", "sft"} & {*e.stages})
    if trains and on_verl and kind in NOT_VERLS:
        raise ExperimentError(
            f"--model {e.model}: verl cannot train {kind} models (their configuration has no num_key_value_heads); use "
            f"a Llama or Qwen model, for example"
        )
    named = texts(config, "architectures")
    if config.get("is_encoder_decoder") or (named and not any(each.endswith(_GENERATES) for each in named)):
        raise ExperimentError(
            f"--model {e.model}: {', '.join(named) or kind} is not a causal language model (...ForCausalLM); use a "
            f"Llama or Qwen model, for example"
        )
    generates = "rl" in e.stages or not trains
    # vLLM evaluates supervised stages before and after; training on answers only if it has problems to validate on.
    evaluated = generates or e.data_kind == "problems" or validated_on(e.data, e.stages) is not None
    if evaluated and e.device == "cpu" and (size := _head_size(decoder)) is not None and size not in HEADS_ON_CPU:
        raise ExperimentError(
            f"--model {e.model}: attention heads of size {size}, which vLLM does not support on a CPU (only "
            f"{', '.join(map(str, HEADS_ON_CPU))})"
        )
    limit = positions(config)
    if limit is None:
        return
    given = e.max_hint_length if trains and "rl" in e.stages and e.algorithm.uses_hints else 0
    longest = e.max_prompt_length + given + e.max_response_length
    if (generates or on_verl) and longest > limit:
        hint = f" + hint {given}" if given else ""
        raise ExperimentError(
            f"--model {e.model}: supports {limit:,} tokens, but a sequence may have {longest:,} (prompt "
            f"{e.max_prompt_length}{hint} + response {e.max_response_length}); lower --max_response_length or "
            f"--max_prompt_length"
        )
    if e.stages == ("alignment",) and trains and e.alignment.max_length > limit:
        raise ExperimentError(
            f"--model {e.model}: takes {limit:,} tokens, fewer than --max_length {e.alignment.max_length:,}; use "
            f"--max_length {limit} or less"
        )


def _refuse_files(model: str) -> None:
    """Raise ExperimentError for a folder whose weights are git-lfs placeholders, or that has no tokenizer."""
    folder = Path(find_model(model))
    weights = sorted(folder.glob("*.safetensors"))
    for file in weights:
        with file.open("rb") as content:
            if content.read(len(_OF_LFS)) == _OF_LFS:
                raise ExperimentError(
                    f"--model {model}: {file.name} is a git-lfs placeholder, not weights; run `git lfs pull` there, "
                    f"or download the model with `hf download`"
                )
    if weights and not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ExperimentError(f"--model {model}: no tokenizer in this folder (tokenizer.json); copy the base model's")


def positions(config: dict[str, Any]) -> int | None:
    """Maximum sequence length of a model, including RoPE scaling in its configuration; None if unlimited."""
    decoder = decoder_of(config)
    limit = next(filter(None, (whole(decoder, name) for name in _POSITIONS)), None)
    rope = section(decoder, "rope_scaling") or section(decoder, "rope_parameters")
    factor = number(rope, "factor")
    if limit is None or factor is None or (rope.get("rope_type") or rope.get("type")) not in _STRETCHED:
        return limit
    return int((whole(rope, "original_max_position_embeddings") or limit) * factor)


def _head_size(decoder: dict[str, Any]) -> int | None:
    size, heads, hidden = (whole(decoder, name) for name in ("head_dim", "num_attention_heads", "hidden_size"))
    return size or (hidden // heads if heads and hidden else None)
