"""Flags that are no part of what is trained: which mode, how a run is started, how an evaluation draws its answers."""

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
    return "" if 0 < value <= 1 else "must be above 0, and at most 1"


def _seeds(values: list[int]) -> str:
    return next((f"{value} {why}" for value in values if (why := a_seed(value))), "")


def _devices(value: str) -> str:
    named = [word.strip() for word in value.split(",") if value.strip()]
    # -1 is how CUDA says none.
    wrong = next((word for word in named if not re.fullmatch(r"-1|\d+|(GPU|MIG)-.+", word)), None)
    if wrong is not None:
        return f"{wrong!r} is no GPU: a number, GPU-<uuid> or MIG-<uuid>"
    there = [] if named in ([], ["-1"]) else machine.visible_devices(value)
    lacking = next((word for word in named if word not in ("-1", *there)), None)
    none = (
        f"this machine has no GPU {lacking}, or it is named twice, or beside one that MIG divides (nvidia-smi -L lists "
        f"what there is)"
    )
    return "" if lacking is None else none


def _word(value: str) -> str:
    return "must be a word, without /" if "/" in value else ""


@dataclass(frozen=True)
class Mode:
    """What run.py is asked to do; without any, to train."""

    eval: bool = setting(_EVALUATION, False, switch=True)
    """Only evaluate --model."""

    sweep: bool = setting(_SEVERAL, False, switch=True)
    """A run for each --algo a,b x --data c,d x --seeds 0,1,2."""

    reproduce: str | None = setting(_SEVERAL, None, metavar="TABLE")
    """The runs of a published table or of our study (listed below)."""

    part: str | None = setting(_SEVERAL, None, choices=("real", "scan"))
    """Of --reproduce study: its runs through the real loop (the default), or the fast lab's scan (exploration)."""

    pipeline: str | None = setting(_SEVERAL, None, metavar="STAGES")
    """Stages in one command, each from the weights of the one before: sft,dpo,grpo, a file.yaml, or framework."""

    completion: bool = setting(_SEVERAL, False, switch=True)
    """Print the completion of flags for bash: source <(./run.py --completion)."""


@dataclass(frozen=True)
class Machine:
    """What is settled before anything is resolved."""

    config: str | None = setting("run", None, metavar="FILE", evaluates=True)
    """Flags from a YAML file, or from a run's experiment.yaml; those of the command line come on top."""

    visible_devices: str | None = setting(
        "machine", None, metavar="0,1", spelling="visible-devices", read=str, check=_devices, evaluates=True
    )
    """The GPUs to use, as CUDA_VISIBLE_DEVICES; none if it is empty."""


@dataclass(frozen=True)
class Steering:
    """How to run: on what, where its files go, whether to go on, whether to start at all."""

    profile: Profile = setting("run", kind=str, evaluates=True)
    """Hardware to take sizes for (listed below); the default is this machine's."""

    out: str | None = setting("run", None, metavar="FOLDER", evaluates=True)
    """Folder of the run; default out/<algo>-<data>-<model>-<hash>."""

    idx: str | None = setting("run", None, check=_word, evaluates=True)
    """A word added to the folder's name."""

    resume: bool = setting("run", False, switch=True, evaluates=True)
    """Continue the run in that folder."""

    dry_run: Literal["short", "full"] | None = setting("run", None, bare="short", evaluates=True)
    """Print what would be done, start nothing; full: with environment, commands and verl's configuration."""

    stall_minutes: float = setting("machine", STALL_MINUTES, check=positive, evaluates=True)
    """End the run when nothing moves for so long."""

    auto_batch: bool = setting("machine", False, switch=True)
    """On a full GPU try again with smaller micro-batches."""

    push_to_hub: str | None = setting("run", None, metavar="ORG/NAME")
    """Upload the trained weights there in the end; the token comes from HF_TOKEN, a new repository is private."""

    def folder(self, name: str) -> Path:
        """Where results go: --out, or a folder of that name under out/."""
        return Path(self.out) if self.out else ROOT / "out" / (name + (f"-{self.idx}" if self.idx else ""))


@dataclass(frozen=True)
class Evaluation:
    """Of --eval alone."""

    n_samples: int = setting(_EVALUATION, 1, check=at_least(1), evaluates=True)
    """Answers per problem; above 1 they are sampled."""

    top_p: float = setting(_EVALUATION, 1.0, check=_share, evaluates=True)
    """Share of the probability that answers are sampled from."""

    k: str | None = setting(_EVALUATION, None, metavar="K,K", evaluates=True)
    """pass@k for these k; default 1, 2, 4 .. n_samples."""

    skip: str | None = setting(_EVALUATION, None, metavar="A,B", evaluates=True)
    """Benchmarks of lm-evaluation-harness's suites to leave out."""


@dataclass(frozen=True)
class Several:
    """Of --sweep and --reproduce alone."""

    seeds: tuple[int, ...] | None = setting(_SEVERAL, None, read=numbers, metavar="N,N", check=_seeds)
    """A run for each of these seeds."""

    parallel: int = setting(_SEVERAL, 1, check=at_least(1))
    """Runs at a time; GPUs are shared out."""


@dataclass(frozen=True)
class Source:
    """What a data set is read with; it becomes part of the experiment's data_options."""

    data_path: str | None = setting("data and reward", None, metavar="FOLDER", evaluates=True)
    """Local copy of what --data math or others would load from the hub."""

    columns: tuple[str, ...] | None = setting("data and reward", None, metavar="ROLE=COLUMN,..", evaluates=True)
    """Columns of a file or data set of your own by what they hold: question=problem,answer=solution."""

    score_min: float | None = setting("data and reward", None, applies=answers)
    """Worst score there can be in a file of scored answers of your own."""

    score_max: float | None = setting("data and reward", None, applies=answers)
    """Best score there can be in it."""


PARTS = (Experiment, Alignment, Source, Generated, Steering, Machine, Mode, Evaluation, Several)
"""All declarations of settings; where two name one alike, the first one is the flag."""
