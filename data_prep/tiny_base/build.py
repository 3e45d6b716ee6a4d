"""Builds the embedded tiny base model: a countdown writer of under a million weights that calculates but rarely hits.
`python -m data_prep.tiny_base --out models/tiny-countdown --seed 0` trains, measures and saves it with its card."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
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

# Problems no training row shows together with a solution, and the yardstick of the card.
HELD_OUT: Final = Space(sizes=(3, 4), max_number=30, targets=(10, 100), operators="+-*")
# What the CPU profile trains on: few enough operators and numbers for the base to be improved within minutes.
CPU_PROFILE: Final = Space(sizes=(3,), max_number=30, targets=(10, 100), operators="+-")
TEST_PROBLEMS: Final = 1024


def build(
    out: Path, seed: int, settings: TrainSettings | None = None, chains: ChainSettings | None = None
) -> dict[str, Any]:
    """Trains, saves to `out` in one move (an existing folder is replaced), measures what was saved; returns the card.

    The same arguments on the same machine and versions give the same weights.
    """
    settings = settings or TrainSettings()
    chains = chains or ChainSettings()
    # One thread: sums come out in the same order every time, and on a shared machine threads mostly wait.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    started = time.monotonic()
    tokenizer = build_tokenizer(settings.context)
    model = build_model(tokenizer, settings)
    problems = generate(TEST_PROBLEMS, 0, "test", HELD_OUT)
    train(model, tokenizer, settings, chains, seed, exclude={problem.key for problem in problems})
    seconds = time.monotonic() - started

    scratch = saved_beside(out, model, tokenizer)
    # Measured as others will load it, not as it was in memory.
    saved = AutoModelForCausalLM.from_pretrained(scratch)
    saved_tokenizer = AutoTokenizer.from_pretrained(scratch)
    measured = {
        name: {
            "problems": dataclasses.asdict(space),
            **{
                way: dataclasses.asdict(measure(saved, saved_tokenizer, asked, temperature))
                for way, temperature in (("greedy", 0.0), ("sampled", 1.0))
            },
        }
        for name, space, asked in (
            ("held_out", HELD_OUT, problems),
            ("cpu_profile", CPU_PROFILE, generate(TEST_PROBLEMS, 0, "test", CPU_PROFILE)),
        )
    }
    card = {
        "command": f"python -m data_prep.tiny_base --out models/{out.name} --seed {seed} --steps {settings.steps} "
        f"--aligned-share {chains.aligned_share}",
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "training_seconds": round(seconds),
        "measured": measured,
        "chains": dataclasses.asdict(chains),
        "training": dataclasses.asdict(settings),
        "versions": versions(),
    }
    publish(scratch, out, card, own_texts(chains, COUNT))
    return card


def saved_beside(out: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    """The model in a folder beside `out`, to be measured as others will load it before `publish` moves it there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    model.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    return scratch


def publish(scratch: Path, out: Path, card: dict[str, Any], texts: list[tuple[str, str]]) -> None:
    """Moves a saved model to `out` in one move, with its card and texts of its own; an existing folder is replaced."""
    write_own_texts(scratch, texts)
    (scratch / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    # The scratch folder and the weights come out readable by their owner only.
    scratch.chmod(0o755)
    for file in scratch.iterdir():
        file.chmod(0o644)
    _replace_folder(scratch, out)


def versions() -> dict[str, str]:
    """Of what the weights depend on."""
    found = {name: version(name) for name in ("torch", "transformers", "tokenizers")}
    return found | {"python": platform.python_version()}


def _replace_folder(new: Path, out: Path) -> None:
    """Moves `new` to `out`: a reader sees the old folder or the whole new one."""
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
