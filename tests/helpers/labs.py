"""A lab on an embedded base, and a few problems for it."""

from typing import Any

from transformers import AutoTokenizer

from bench.lab import model
from bench.lab.rollouts import Lab
from data_prep.chain.problem import Space, generate
from data_prep.chain.rows import to_row
from recipes import ROOT
from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES

BASE = ROOT / "models/tiny-chain-q40"
ROWS = [to_row(problem, place, "train") for place, problem in enumerate(generate(6, 0, "train", Space()))]


def experiment(algo: str = "uft", **flags: Any) -> Experiment:
    return build_experiment({"algo": algo, "data": "chain", "model": str(BASE), **flags}, PROFILES["cpu"])


def lab(algo: str = "uft", **flags: Any) -> Lab:
    return Lab(experiment(algo, **flags), AutoTokenizer.from_pretrained(BASE), model.load(BASE)[0])
