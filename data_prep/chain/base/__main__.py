"""Builds an embedded chain base: a model that knows the format of a chain, and gets each step right with probability q.
`python -m data_prep.chain.base --out models/tiny-chain-q40 --q 0.4` trains, measures and saves it with its card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data_prep.chain.base.measure import measure
from data_prep.chain.base.texts import TextSettings, own_texts
from data_prep.chain.base.tokenizer import STATES, build_tokenizer
from data_prep.chain.base.train import TrainSettings, build_model, train
from data_prep.chain.problem import Space, generate
from data_prep.commands import Parser, folder, whole
from data_prep.own_texts import COUNT
from data_prep.tiny_base.build import publish

PROBLEMS: Final = 64
SAMPLES: Final = 16
DEPTHS: Final = (5, 10, 20)


def build(out: Path, seed: int, settings: TrainSettings, texts: TextSettings) -> dict[str, Any]:
    """Trains, saves to `out` (replacing an existing folder atomically), measures what was saved; returns the card."""

    def trained() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        tokenizer = build_tokenizer(settings.context)
        model = build_model(tokenizer, settings)
        train(model, tokenizer, settings, texts, seed)
        return model, tokenizer

    def measured(model: Any, tokenizer: Any) -> dict[str, Any]:
        return {
            rule: {
                f"depth {depth}": dataclasses.asdict(
                    measure(model, tokenizer, generate(PROBLEMS, 0, "test", Space(rule, STATES, depth)), SAMPLES)
                )
                for depth in DEPTHS
            }
            for rule in texts.rules
        }

    command = f"python -m data_prep.chain.base --out models/{out.name} --q {texts.q} --seed {seed} "
    about = {"texts": dataclasses.asdict(texts), "training": dataclasses.asdict(settings)}
    return publish(out, seed, trained, measured, f"{command}--steps {settings.steps}", about, own_texts(texts, COUNT))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: builds the model and prints its card."""
    parser = Parser(prog="python -m data_prep.chain.base", description=__doc__)
    parser.add_argument("--out", type=folder, default=Path("models/tiny-chain-q40"), help="model folder to write")
    parser.add_argument("--q", type=float, default=0.4, help="probability that a step of the texts follows the rule")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument(
        "--steps", type=whole(1), default=TrainSettings.steps, help="training steps (fewer for a quick try)"
    )
    options = parser.parse_args(arguments)
    settings = dataclasses.replace(TrainSettings(), steps=options.steps)
    print(json.dumps(build(options.out, options.seed, settings, TextSettings(options.q)), indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
