"""Flags that are not part of an experiment: mode, how a run is started, how an evaluation samples answers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recipes import ROOT
from recipes.common import machine
from recipes.common.values import a_seed, at_least, numbers, positive
from recipes.settings.alignment import Alignment
from recipes.settings.applies import answers
from recipes.settings.declare import setting
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import Profile
from recipes.settings.task_options import Generated

STALL_MINUTES = 30.0
FULL = "full"

_EVALUATION = "evaluation (--eval)"
_SEVERAL = "several runs (docs/sweeps.md)"


def _share(value: float) -> str:
    return "" if 0 < value <= 1 else "must be above 0 and at most 1"


def _seeds(values: list[int]) -> str:
    return next((f"{value} {why}" for value in values if (why := a_seed(value))), "")


def _devices(value: str) -> str:
    named = [word.strip() for word in value.split(",") if value.strip()]
    # CUDA reads -1 as no GPU.
    wrong = next((word for word in named if not re.fullmatch(r"-1|\d+|(GPU|MIG)-.+", word)), None)
    if wrong is not None:
        return f"{wrong!r} is not a GPU; give a number, GPU-<uuid> or MIG-<uuid>"
    there = [] if named in ([], ["-1"]) else machine.visible_devices(value)
    lacking = next((word for word in named if word not in ("-1", *there)), None)
    if lacking is None:
        return ""
    return f"no GPU {lacking} here, or it is given twice or together with one that MIG divides (see nvidia-smi -L)"


def _word(value: str) -> str:
    return "must be a word, without /" if "/" in value else ""


@dataclass(frozen=True)
class Mode:
    """Modes of run.py; without any, it trains."""

    eval: bool = setting(_EVALUATION, False, switch=True)
    """Only evaluate --model."""

    sweep: bool = setting(_SEVERAL, False, switch=True)
    """One run for each combination of --algo a,b, --data c,d and --seeds 0,1,2."""

    reproduce: str | None = setting(_SEVERAL, None, metavar="TABLE")
    """Run the experiments of a published table or of our study (listed below)."""

    part: str | None = setting(_SEVERAL, None, choices=("real", "scan"))
    """Part of --reproduce study: runs with the full training loop (default) or the fast lab's scan (exploration)."""

    pipeline: str | None = setting(_SEVERAL, None, metavar="STAGES")
    """Train stages in sequence, each from the previous one's weights: sft,dpo,grpo, a file.yaml or framework."""

    completion: bool = setting(_SEVERAL, False, switch=True)
    """Print bash completion for the flags: source <(./run.py --completion)."""


@dataclass(frozen=True)
class Machine:
    """Flags that are read before all others."""

    config: str | None = setting("run", None, metavar="FILE", evaluates=True)
    """Read flags from a YAML file or a run's experiment.yaml; the command line takes precedence."""

    visible_devices: str | None = setting(
        "machine", None, metavar="0,1", spelling="visible-devices", read=str, check=_devices, evaluates=True
    )
    """GPUs to use, as in CUDA_VISIBLE_DEVICES; empty: none."""


@dataclass(frozen=True)
class Steering:
    """How to run: hardware, output folder, resuming, dry run."""

    profile: Profile = setting("run", kind=str, evaluates=True)
    """Hardware profile (listed below) that sets sizes; default: this machine's."""

    out: str | None = setting("run", None, metavar="FOLDER", evaluates=True)
    """Folder of the run; default: out/<algo>-<data>-<model>-<hash>."""

    idx: str | None = setting("run", None, check=_word, evaluates=True)
    """Suffix of the default folder's name."""

    resume: bool = setting("run", False, switch=True, evaluates=True)
    """Resume the run in its folder."""

    dry_run: Literal["short", "full"] | None = setting("run", None, bare="short", evaluates=True)
    """Print the plan and start nothing; full: with environment, commands and verl's configuration."""

    stall_minutes: float = setting("machine", STALL_MINUTES, check=positive, evaluates=True)
    """Stop the run after this many minutes without progress."""

    auto_batch: bool = setting("machine", False, switch=True)
    """Retry with smaller micro-batches when GPU memory runs out."""

    push_to_hub: str | None = setting("run", None, metavar="ORG/NAME")
    """Upload the trained weights to this repository (private if new) at the end; needs HF_TOKEN."""

    def folder(self, name: str) -> Path:
        """The run's folder: --out, or `name` (with --idx) under out/."""
        return Path(self.out) if self.out else ROOT / "out" / (name + (f"-{self.idx}" if self.idx else ""))


@dataclass(frozen=True)
class Evaluation:
    """Flags for --eval only."""

    n_samples: int = setting(_EVALUATION, 1, check=at_least(1), evaluates=True)
    """Answers per problem; sampled if more than 1."""

    top_p: float = setting(_EVALUATION, 1.0, check=_share, evaluates=True)
    """Nucleus sampling: probability mass that answers are sampled from."""

    k: str | None = setting(_EVALUATION, None, metavar="K,K", evaluates=True)
    """Values of k for pass@k; default: 1, 2, 4 .. n_samples."""

    skip: str | None = setting(_EVALUATION, None, metavar="A,B", evaluates=True)
    """Benchmarks to skip in lm-evaluation-harness's suites."""


@dataclass(frozen=True)
class Several:
    """Flags for --sweep and --reproduce only."""

    seeds: tuple[int, ...] | None = setting(_SEVERAL, None, read=numbers, metavar="N,N", check=_seeds)
    """Seeds; one run for each."""

    parallel: int = setting(_SEVERAL, 1, check=at_least(1))
    """Concurrent runs; the GPUs are divided among them."""


@dataclass(frozen=True)
class Source:
    """How a data set is read; stored in the experiment's data_options."""

    data_path: str | None = setting("data and reward", None, metavar="FOLDER", evaluates=True)
    """Local copy of data that --data math or others would download from the Hub."""

    columns: tuple[str, ...] | None = setting("data and reward", None, metavar="ROLE=COLUMN,..", evaluates=True)
    """Column names in your own file or data set, by role: question=problem,answer=solution."""

    score_min: float | None = setting("data and reward", None, applies=answers)
    """Lowest possible score in your own file of scored answers."""

    score_max: float | None = setting("data and reward", None, applies=answers)
    """Highest possible score in your own file of scored answers."""


PARTS = (Experiment, Alignment, Source, Generated, Steering, Machine, Mode, Evaluation, Several)
"""All declarations of settings; if two share a name, the first one is the flag."""
