"""Flags that do not define the training: the mode, how a run starts, how an evaluation samples answers."""

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
    # CUDA uses -1 for no device.
    wrong = next((word for word in named if not re.fullmatch(r"-1|\d+|(GPU|MIG)-.+", word)), None)
    if wrong is not None:
        return f"{wrong!r} is not a GPU; give a number, GPU-<uuid> or MIG-<uuid>"
    there = [] if named in ([], ["-1"]) else machine.visible_devices(value)
    lacking = next((word for word in named if word not in ("-1", *there)), None)
    none = (
        f"GPU {lacking} does not exist here, is named twice, or is named beside a GPU that MIG divides (nvidia-smi -L "
        f"lists them)"
    )
    return "" if lacking is None else none


def _word(value: str) -> str:
    return "must be a word without /" if "/" in value else ""


@dataclass(frozen=True)
class Mode:
    """What run.py does; without any of these, it trains."""

    eval: bool = setting(_EVALUATION, False, switch=True)
    """Only evaluate --model."""

    sweep: bool = setting(_SEVERAL, False, switch=True)
    """One run for each combination of --algo a,b, --data c,d and --seeds 0,1,2."""

    reproduce: str | None = setting(_SEVERAL, None, metavar="TABLE")
    """Make the runs of a published table or of our study (listed below)."""

    part: str | None = setting(_SEVERAL, None, choices=("real", "scan"))
    """For --reproduce study: its runs with the real trainer (default), or the fast lab's exploratory scan."""

    pipeline: str | None = setting(_SEVERAL, None, metavar="STAGES")
    """Train stages in sequence, each from the previous one's weights: sft,dpo,grpo, a file.yaml, or framework."""

    completion: bool = setting(_SEVERAL, False, switch=True)
    """Print bash completion for the flags: source <(./run.py --completion)."""


@dataclass(frozen=True)
class Machine:
    """Settings applied before any others are resolved."""

    config: str | None = setting("run", None, metavar="FILE", evaluates=True)
    """Read flags from a YAML file or a run's experiment.yaml; the command line overrides them."""

    visible_devices: str | None = setting(
        "machine", None, metavar="0,1", spelling="visible-devices", read=str, check=_devices, evaluates=True
    )
    """GPUs to use, in the format of CUDA_VISIBLE_DEVICES; an empty value means none."""


@dataclass(frozen=True)
class Steering:
    """How to run: hardware, folder, resuming, dry run."""

    profile: Profile = setting("run", kind=str, evaluates=True)
    """Hardware profile that sets sizes (listed below); default: this machine's."""

    out: str | None = setting("run", None, metavar="FOLDER", evaluates=True)
    """Folder of the run; default: out/<algo>-<data>-<model>-<hash>."""

    idx: str | None = setting("run", None, check=_word, evaluates=True)
    """Word appended to the default folder name."""

    resume: bool = setting("run", False, switch=True, evaluates=True)
    """Resume the run in its folder."""

    dry_run: Literal["short", "full"] | None = setting("run", None, bare="short", evaluates=True)
    """Print the plan without starting anything; full: also environment, commands and verl's configuration."""

    stall_minutes: float = setting("machine", STALL_MINUTES, check=positive, evaluates=True)
    """End the run after this many minutes without progress."""

    auto_batch: bool = setting("machine", False, switch=True)
    """When a GPU runs out of memory, retry with smaller micro-batches."""

    push_to_hub: str | None = setting("run", None, metavar="ORG/NAME")
    """Upload the trained weights there at the end; uses HF_TOKEN; a new repository is private."""

    def folder(self, name: str) -> Path:
        """Folder for results: --out, or one of that name under out/."""
        return Path(self.out) if self.out else ROOT / "out" / (name + (f"-{self.idx}" if self.idx else ""))


@dataclass(frozen=True)
class Evaluation:
    """Only for --eval."""

    n_samples: int = setting(_EVALUATION, 1, check=at_least(1), evaluates=True)
    """Answers per problem; more than one are sampled."""

    top_p: float = setting(_EVALUATION, 1.0, check=_share, evaluates=True)
    """Nucleus sampling: probability mass to sample from."""

    k: str | None = setting(_EVALUATION, None, metavar="K,K", evaluates=True)
    """Report pass@k for these k; default: 1, 2, 4 .. n_samples."""

    skip: str | None = setting(_EVALUATION, None, metavar="A,B", evaluates=True)
    """Benchmarks to skip in lm-evaluation-harness's suites."""


@dataclass(frozen=True)
class Several:
    """Only for --sweep and --reproduce."""

    seeds: tuple[int, ...] | None = setting(_SEVERAL, None, read=numbers, metavar="N,N", check=_seeds)
    """Make a run for each seed."""

    parallel: int = setting(_SEVERAL, 1, check=at_least(1))
    """Concurrent runs; GPUs are divided among them."""


@dataclass(frozen=True)
class Source:
    """How a data set is read; stored in the experiment's data_options."""

    data_path: str | None = setting("data and reward", None, metavar="FOLDER", evaluates=True)
    """Local copy of what tasks such as math or others load from the hub."""

    columns: tuple[str, ...] | None = setting("data and reward", None, metavar="ROLE=COLUMN,..", evaluates=True)
    """Columns of your own file or data set, by role: question=problem,answer=solution."""

    score_min: float | None = setting("data and reward", None, applies=answers)
    """Lowest possible score in your own file of scored answers."""

    score_max: float | None = setting("data and reward", None, applies=answers)
    """Highest possible score in it."""


PARTS = (Experiment, Alignment, Source, Generated, Steering, Machine, Mode, Evaluation, Several)
"""All declarations of settings; if two share a name, the first defines the flag."""
