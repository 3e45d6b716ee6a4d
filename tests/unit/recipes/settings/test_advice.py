"""Every flag that a message, README or docs name exists: advice that sends people into a wall is a defect."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from recipes.flags.parser import catalogue
from recipes.settings.alignment import Alignment
from recipes.settings.declare import GROUPS, declared
from recipes.settings.experiment import Experiment
from tests import ROOT

FLAG = re.compile(r"(?<![\w-])--([a-zA-Z][\w-]*)")

# Of other programs, which the text around them names.
OTHERS = {
    *("standalone", "nproc_per_node", "nnodes", "node_rank", "rdzv-backend", "rdzv-conf", "local-addr"),  # torchrun
    *("shm-size", "ipc", "gpus", "rm", "env", "strict"),  # docker, sky, a validator
    *("dtype", "enforce-eager", "distributed-executor-backend"),  # vllm serve
    *("query-gpu", "format"),  # nvidia-smi
    *("no-deps", "no-index", "find-links", "index-url", "extra-index-url", "require-hashes"),  # pip
    *("backend", "local_dir", "target_dir"),  # verl.model_merger
    *("report", "target"),  # pip
    *("num-cpus", "logdir", "backend-store-uri"),  # ray start, tensorboard, mlflow ui
    *(
        "nodes",
        "export",
        "exclude",
        "array",
        "gpus-per-node",
        "ntasks-per-node",
        "cpus-per-task",
        "job-name",
    ),  # sbatch, pip
    *("pid", "native", "check"),  # py-spy, ruff
    *("head", "address", "port", "block", "num-gpus"),  # ray start
    *("from-literal", "no-python", "query-compute-apps", "local-dir"),  # kubectl, torchrun, nvidia-smi, hf
}


def front_door_flags() -> set[str]:
    """What is declared, with the options of the algorithm that the pages show as one of one's own."""
    known = catalogue(str(ROOT / "examples/own_algorithm.py")).values()
    return {"help"} | {name for each in known for name in (each.name, each.spelling, *each.aliases)}


def declared_flags() -> set[str]:
    """Flags of all command lines of the repository: run.py, install.sh, and whatever a module parses."""
    usage = re.search(r"usage\(\) \{.*?\n\}", (ROOT / "install.sh").read_text(), re.DOTALL)
    assert usage
    found = front_door_flags() | set(FLAG.findall(usage[0]))
    for folder in ("recipes", "eval", "data_prep", "reward_fns", "bench", "models", "tests/gpu"):
        for file in (ROOT / folder).rglob("*.py"):
            for declaration in re.findall(r"add_argument\(([^)]*)", file.read_text(encoding="utf-8")):
                found |= set(re.findall(r"\"--([\w-]+)\"", declaration))
    return found


def messages(*folders: str) -> list[Path]:
    """Files with texts that a run can print; not those with a command line of their own, which speak of its flags."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    return [file for file in files if 'add_argument("--' not in file.read_text(encoding="utf-8")]


def flags_in(file: Path) -> set[str]:
    """Flags that its texts name: no arguments of other commands, no properties of style sheets."""
    text = re.sub(r"\[[^\]]*\"-m\"[^\]]*\]|command \+= .*|var\(--\w+|--\w+:", "", file.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if "install.sh" not in line and "python" not in line]
    return {flag for line in lines for flag in FLAG.findall(line) if not flag.endswith("_")}


@pytest.mark.parametrize("file", [ROOT / "run.py", *messages("recipes")], ids=lambda file: str(file.relative_to(ROOT)))
def test_a_message_of_a_run_names_flags_of_run_py(file: Path) -> None:
    assert not flags_in(file) - front_door_flags() - OTHERS


@pytest.mark.parametrize(
    "file", messages("data_prep", "reward_fns", "eval"), ids=lambda file: str(file.relative_to(ROOT))
)
def test_a_message_of_data_or_rewards_names_flags_that_exist(file: Path) -> None:
    assert not flags_in(file) - declared_flags() - OTHERS


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda file: str(file.relative_to(ROOT))
)
def test_a_page_names_flags_that_exist(file: Path) -> None:
    assert not set(FLAG.findall(file.read_text(encoding="utf-8"))) - declared_flags() - OTHERS


def test_every_value_has_a_flag() -> None:
    """But for those that follow from the flags: data_kind from --data, profile and device from --profile ..."""
    derived = {"data_kind", "profile", "device", "alignment", "data_options", "overrides", "options"}
    values = {each.name for cls in (Experiment, Alignment) for each in fields(cls)}
    assert values - derived <= front_door_flags()
    assert {name for name, each in declared(Experiment).items() if not each.flag} == derived


def test_every_flag_is_declared_with_help_and_in_a_group() -> None:
    for each in catalogue().values():
        assert each.help, each.name
        assert each.group in GROUPS or each.group.startswith("options of --algo "), each.name
