"""Experiment trackers besides metrics.jsonl: which exist, run names, where they write offline."""

import importlib.util
import netrc
import os
from collections.abc import Sequence
from pathlib import Path

from recipes.common.run_dir import RunDir

TRACKERS = ("wandb", "swanlab", "mlflow", "trackio")
"""Those with projects and runs; verl and accelerate (used by TRL) support all of them."""

LOGGERS = ("console", "file", "tensorboard", *TRACKERS)

PROJECT = "unified-ft"

TRACKER_FILES = ("tensorboard", "wandb", "swanlab", "mlflow.db", "trackio")
"""Files of loggers in a run's folder."""

_WANDB_HOST = "api.wandb.ai"


def missing(loggers: Sequence[str]) -> str:
    """The first logger whose package is not installed; empty if all are."""
    packages = (name for name in loggers if name not in ("console", "file"))
    return next((name for name in packages if importlib.util.find_spec(name) is None), "")


def run_name(given: str | None, run: RunDir) -> str:
    """A stage's name in trackers: --run_name or the folder's name; sft_rft's first stage adds -sft."""
    inner = (run.path.parent / "experiment.yaml").exists()
    folder = run.path.parent if inner else run.path
    return (given or folder.name) + (f"-{run.path.name}" if inner else "")


def tracker_environment(loggers: Sequence[str], run: RunDir) -> dict[str, str]:
    """Variables that put trackers' files into the run's folder and keep trackers without a login offline.

    Values set by the user are kept. Never includes a key.
    """
    wanted: dict[str, str] = {}
    if "wandb" in loggers:
        wanted["WANDB_DIR"] = str(run.path)
        if not (os.environ.get("WANDB_API_KEY") or _in_netrc(_WANDB_HOST)):
            wanted["WANDB_MODE"] = "offline"
    if "swanlab" in loggers:
        wanted["SWANLAB_LOG_DIR"] = str(run.path / "swanlab")
        if not os.environ.get("SWANLAB_API_KEY"):
            wanted["SWANLAB_MODE"] = "offline"
    if "mlflow" in loggers:
        wanted["MLFLOW_TRACKING_URI"] = f"sqlite:///{run.path}/mlflow.db"
    if "trackio" in loggers:
        wanted["TRACKIO_DIR"] = str(run.path / "trackio")
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def _in_netrc(host: str) -> bool:
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(str(file)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
