"""verl's configurations of stages, as our settings and verl's own validation make them."""

from pathlib import Path
from typing import Any

from recipes.common.run_dir import RunDir
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.verl_config import rl_config
from tests import ROOT

RUN = RunDir(Path("out/x"))


FILES = {"train_file": Path("train.parquet"), "test_file": Path("test.parquet")}


# verl reads a critic's tokenizer while it checks its settings: a model that is here.
EMBEDDED = str(ROOT / "models/tiny-countdown")


def reinforcement(experiment: Experiment) -> Any:
    """verl's whole configuration of a reinforcement stage, after verl's own validation."""
    from recipes.verl_plugin.compose import compose_config
    from recipes.verl_plugin.main import checked_config

    values = rl_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    return checked_config(compose_config("ppo_trainer", values, []))
