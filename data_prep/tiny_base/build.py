"""Builds the embedded tiny base model: a countdown model of under a million weights that calculates, but rarely solves.
`python -m data_prep.tiny_base --out models/tiny-countdown --seed 0` trains, measures and saves it with its card."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from data_prep.commands import Parser, folder, whole
from data_prep.countdown.generate import Space, generate
from data_prep.own_texts import COUNT, write_own_texts
from data_prep.tiny_base.chains import ChainSettings, own_texts
from data_prep.tiny_base.measure import measure
from data_prep.tiny_base.tokenizer import build_tokenizer
from data_prep.tiny_base.train import TrainSettings, build_model, train

# Problems that no training row solves, on which the card's accuracy is measured.
HELD_OUT: Final = Space(sizes=(3, 4), max_number=30, targets=(10, 100), operators="+-*")
# What the CPU profile trains on: few enough operators and numbers that the base improves within minutes.
CPU_PROFILE: Final = Space(sizes=(3,), max_number=30, targets=(10, 100), operators="+-")
TEST_PROBLEMS: Final = 1024


def build(
    out: Path, seed: int, settings: TrainSettings | None = None, chains: ChainSettings | None = None
) -> dict[str, Any]:
    """Trains, saves to `out` (replacing an existing folder atomically), measures what was saved; returns the card.

    The same arguments on the same machine and versions give the same weights.
    """
    settings = settings or TrainSettings()
    chains = chains or ChainSettings()
    held_out = generate(TEST_PROBLEMS, 0, "test", HELD_OUT)

    def trained() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        tokenizer = build_tokenizer(settings.context)
        model = build_model(tokenizer, settings)
        train(model, tokenizer, settings, chains, seed, exclude={problem.key for problem in held_out})
        return model, tokenizer

    def measured(model: Any, tokenizer: Any) -> dict[str, Any]:
        return {
            name: {
                "problems": dataclasses.asdict(space),
                **{
                    way: dataclasses.asdict(measure(model, tokenizer, asked, temperature))
                    for way, temperature in (("greedy", 0.0), ("sampled", 1.0))
                },
            }
            for name, space, asked in (
                ("held_out", HELD_OUT, held_out),
                ("cpu_profile", CPU_PROFILE, generate(TEST_PROBLEMS, 0, "test", CPU_PROFILE)),
            )
        }

    command = (
        f"python -m data_prep.tiny_base --out models/{out.name} --seed {seed} --steps {settings.steps} "
        f"--aligned-share {chains.aligned_share}"
    )
    about = {"chains": dataclasses.asdict(chains), "training": dataclasses.asdict(settings)}
    return publish(out, seed, trained, measured, command, about, own_texts(chains, COUNT))


def publish(
    out: Path,
    seed: int,
    trained: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerFast]],
    measured: Callable[[Any, Any], dict[str, Any]],
    command: str,
    about: dict[str, Any],
    texts: list[tuple[str, str]],
) -> dict[str, Any]:
    """Trains a model and puts it at `out` with its card and own texts, replacing an existing folder; returns the card.

    Args:
        trained: trains model and tokenizer, by torch's global generator.
        measured: measures (model, tokenizer) as loaded from disk.
        command, about: for the card.
    """
    # One thread: sums always have the same order, and on a shared machine threads mostly wait.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    started = time.monotonic()
    model, tokenizer = trained()
    seconds = time.monotonic() - started
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    model.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    card = {
        "command": command,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "training_seconds": round(seconds),
        "measured": measured(AutoModelForCausalLM.from_pretrained(scratch), AutoTokenizer.from_pretrained(scratch)),
        **about,
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")}
        | {"python": platform.python_version()},
    }
    write_own_texts(scratch, texts)
    (scratch / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    # The scratch folder and the weights were created readable by their owner only.
    scratch.chmod(0o755)
    for file in scratch.iterdir():
        file.chmod(0o644)
    _replace_folder(scratch, out)
    return card


def _replace_folder(new: Path, out: Path) -> None:
    """Moves `new` to `out`: a reader sees either the old or the new folder."""
    if not out.exists():
        os.replace(new, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    os.replace(out, old / out.name)
    os.replace(new, out)
    shutil.rmtree(old)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: builds the model and prints its card."""
    parser = Parser(prog="python -m data_prep.tiny_base", description=__doc__)
    parser.add_argument("--out", type=folder, default=Path("models/tiny-countdown"), help="model folder to write")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument(
        "--steps", type=whole(1), default=TrainSettings.steps, help="training steps (fewer for a quick try)"
    )
    parser.add_argument("--aligned-share", type=float, default=ChainSettings.aligned_share)
    options = parser.parse_args(arguments)
    card = build(
        options.out,
        options.seed,
        dataclasses.replace(TrainSettings(), steps=options.steps),
        dataclasses.replace(ChainSettings(), aligned_share=options.aligned_share),
    )
    print(json.dumps(card, indent=2))
    return 0
