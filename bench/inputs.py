"""Inputs of the benchmark: random weights of a real shape, and problems with texts of an exact number of tokens.

Nothing is downloaded: the tokenizer is the embedded one, its vocabulary padded to the model's with unused entries.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from data_prep.countdown import generate as countdown
from data_prep.schema import ANSWER_OPENS
from recipes.estimate.model_shapes import SHAPES, ModelShape, shape_of_config

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "models/tiny-countdown"
TINY = "tiny"
SEGMENTS = 5
# One token of the embedded tokenizer, even when repeated.
_FILLER = "1"


def shape_of(name: str) -> ModelShape:
    """The shape behind --model: "tiny" is the embedded model's."""
    if name == TINY:
        return shape_of_config(json.loads((EMBEDDED / "config.json").read_text()))
    return SHAPES[name]


def random_model(name: str, folder: Path) -> Path:
    """The folder, with random weights (float32, seed 0) of that shape and a tokenizer of the same vocabulary."""
    import torch
    from transformers import AutoModelForCausalLM

    if any(folder.glob("*.safetensors")):
        return folder
    config = described_model(name, folder)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def described_model(name: str, folder: Path) -> Any:
    """The configuration of such a model, written with its tokenizer to a folder that has no weights yet."""
    from transformers import AutoTokenizer, LlamaConfig, Qwen2Config

    folder.mkdir(parents=True, exist_ok=True)
    shape = shape_of(name)
    _write_tokenizer(shape.vocabulary, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    kind = Qwen2Config if shape.attention_bias else LlamaConfig
    own = {} if shape.attention_bias else {"head_dim": shape.head_dim}
    config = kind(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=shape.tied,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        architectures=[kind.__name__.replace("Config", "ForCausalLM")],
        **own,
    )
    config.save_pretrained(folder)
    return config


def _write_tokenizer(vocabulary: int, folder: Path) -> None:
    tokenizer = json.loads((EMBEDDED / "tokenizer.json").read_text(encoding="utf-8"))
    known = tokenizer["model"]["vocab"]
    for number in range(len(known), vocabulary):
        known[f"<|unused{number}|>"] = number
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((EMBEDDED / name).read_bytes())


def problems(folder: Path, *, n_train: int, hint_tokens: int) -> Path:
    """Countdown problems whose solutions have `hint_tokens` tokens before the answer, in five equal segments."""
    if (folder / "train.parquet").exists():
        return folder
    countdown.prepare(folder, n_train=n_train, n_test=8, seed=0, max_number=30, operators="+-")
    segment = _FILLER * (hint_tokens // SEGMENTS)
    for name in ("train", "test"):
        file = folder / f"{name}.parquet"
        table = parquet.read_table(file)
        rows = table.to_pylist()
        for row in rows:
            row["hint"] = [segment] * SEGMENTS
            row["answer"] = segment * SEGMENTS + ANSWER_OPENS + row["answer"].split(ANSWER_OPENS)[1]
        parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    return folder
