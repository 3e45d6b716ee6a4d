"""Every flag that a message, README or docs name exists: advice that sends people into a wall is a defect."""

import re
from pathlib import Path

import pytest

import run

ROOT = Path(__file__).resolve().parents[2]
FLAG = re.compile(r"(?<![\w-])--([a-zA-Z][\w-]*)")

# Of other programs, which the text around them names.
OTHERS = {
    *("standalone", "nproc_per_node", "nnodes", "node_rank", "rdzv_backend"),  # torchrun
    *("shm-size", "ipc", "gpus"),  # docker
    *("query-gpu", "format"),  # nvidia-smi
    *("no-deps", "no-index", "find-links", "index-url", "extra-index-url"),  # pip
    *("backend", "local_dir", "target_dir"),  # verl.model_merger
    *("report",),  # pip
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
    *("pid", "native"),  # py-spy
    *("head", "address", "port", "block", "num-gpus"),  # ray start
}


def front_door_flags() -> set[str]:
    """With those of the algorithm that the pages show as one of one's own."""
    known = run.parser(str(ROOT / "examples/own_algorithm.py"))
    return {name.lstrip("-") for action in known._actions for name in action.option_strings}


def declared_flags() -> set[str]:
    """Flags of all command lines of the repository: run.py, install.sh, and whatever a module parses."""
    usage = re.search(r"usage\(\) \{.*?\n\}", (ROOT / "install.sh").read_text(), re.DOTALL)
    assert usage
    found = front_door_flags() | set(FLAG.findall(usage[0]))
    for folder in ("recipes", "eval", "data_prep", "reward_fns", "bench", "models"):
        for file in (ROOT / folder).rglob("*.py"):
            for declaration in re.findall(r"add_argument\(([^)]*)", file.read_text(encoding="utf-8")):
                found |= set(re.findall(r"\"--([\w-]+)\"", declaration))
    return found


def messages() -> list[Path]:
    """Files whose texts a run of run.py can print. Those with a command line of their own speak of its flags."""
    files = [*(ROOT / "recipes").rglob("*.py"), ROOT / "run.py"]
    return [
        file for file in files if "ArgumentParser(" not in file.read_text(encoding="utf-8") or file.name == "run.py"
    ]


@pytest.mark.parametrize("file", messages(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_message_of_a_run_names_flags_of_run_py(file: Path) -> None:
    known = front_door_flags() | OTHERS
    text = re.sub(r"\[[^\]]*\"-m\"[^\]]*\]|command \+= .*", "", file.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if "install.sh" not in line and "python" not in line]
    named = {flag for line in lines for flag in FLAG.findall(line) if not flag.endswith("_")}
    assert not named - known


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda file: str(file.relative_to(ROOT))
)
def test_a_page_names_flags_that_exist(file: Path) -> None:
    assert not set(FLAG.findall(file.read_text(encoding="utf-8"))) - declared_flags() - OTHERS


@pytest.mark.parametrize("name", ["rollout_memory", "max_num_seqs", "clip_ratio", "dtype", "T", "kl_coef"])
def test_every_value_has_a_flag(name: str) -> None:
    assert name in front_door_flags()
