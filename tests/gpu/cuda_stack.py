"""The tests under the CUDA stack without a GPU: `python -m tests cuda-stack [--python PATH] [--env DIR] [--parts ...]`.

Installs the CUDA stack into an environment of its own (3.3 GB to fetch, 10 GB on the disk, 8 minutes), runs there the
contract and unit tests and the engine configurations of every profile on a faked card (faked.py), and writes what it
found into docs/gpu_status.md. The environment is deleted at the end, unless --env names a folder for it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from tests.gpu.status import ROOT, write_section

COMMAND = "python -m tests cuda-stack"
TESTS = ["tests/contract", "tests/unit", "-m", "not extended"]
TWO = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
VERSIONS = "import platform, torch, vllm, verl; print(platform.python_version(), torch.__version__, vllm.__version__)"


def main(arguments: list[str]) -> int:
    """Install, run, write; the exit code is 1 where a test failed or an engine was refused."""
    flags = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n\n")[0])
    flags.add_argument("--python", default=sys.executable, help="Python 3.11 or 3.12 to make the environment with")
    flags.add_argument("--env", type=Path, help="keep the environment in this folder; one that is there is completed")
    given = flags.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cuda-stack-") as scratch:
        env = (given.env or Path(scratch) / "env").resolve()
        started = time.monotonic()
        installed(env, given.python)
        minutes = {"install": (time.monotonic() - started) / 60}
        python, variables = str(env / "bin/python"), stack_variables()
        started = time.monotonic()
        report = Path(scratch) / "tests.xml"
        pytest = [python, "-m", "pytest", *TESTS, *TWO, "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        code = subprocess.call(pytest, cwd=ROOT, env=variables)
        minutes["tests"] = (time.monotonic() - started) / 60
        faked = [python, "-m", "tests.gpu.faked"]
        engines = subprocess.run(faked, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, check=False)
        print(engines.stdout, end="")
        versions = subprocess.check_output([python, "-c", VERSIONS], text=True, env=variables).split()
        lines = summary(versions, minutes, outcomes(report), engine_lines(engines.stdout))
    write_section(COMMAND, lines)
    print("\n".join(lines))
    return int(bool(code or engines.returncode))


def installed(env: Path, python: str) -> None:
    """The CUDA stack and the tools of tests in `env`, by install.sh."""
    if not (env / "bin/python").exists():
        subprocess.run([python, "-m", "venv", str(env)], check=True)
    command = [str(ROOT / "install.sh"), "--profile", "cuda", "--dev"]
    subprocess.run(command, cwd=ROOT, env={**stack_variables(), "VIRTUAL_ENV": str(env)}, check=True)


def stack_variables() -> dict[str, str]:
    """This process's variables less those that lead Python or install.sh into another environment."""
    leading = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in leading}


def outcomes(report: Path) -> dict[str, list[str]]:
    """Tests by outcome, from pytest's junit file; of skipped ones the reasons."""
    found: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            found["failed"].append(name)
        elif (skip := case.find("skipped")) is not None:
            found["skipped"].append(str(skip.get("message")))
        else:
            found["passed"].append(name)
    return found


def engine_lines(printed: str) -> list[tuple[str, str]]:
    """(case, what is wrong) of every line that faked.py printed about an engine."""
    lines = [line.removeprefix("engine ") for line in printed.splitlines() if line.startswith("engine ")]
    pairs = (line.removeprefix("FAILED ").removeprefix("ok").strip().partition(": ") for line in lines)
    return [(case, trouble) for case, _, trouble in pairs]


def summary(
    versions: Sequence[str],
    minutes: dict[str, float],
    tests: dict[str, list[str]],
    engines: list[tuple[str, str]],
) -> list[str]:
    """The lines for docs/gpu_status.md."""
    python, torch, vllm = versions
    counts = ", ".join(f"{len(tests[name])} {name}" for name in ("passed", "failed", "skipped"))
    refused = [(case, trouble) for case, trouble in engines if trouble]
    return [
        f"`{COMMAND}`, {date.today()} (Python {python}, torch {torch}, vLLM {vllm}, no GPU, {os.cpu_count()} cores): "
        f"contract and unit tests {counts} in {minutes['tests']:.0f} minutes; {len(engines) - len(refused)} of "
        f"{len(engines)} engine configurations on a faked card as their profile says; installed by `install.sh` in "
        f"{minutes['install']:.0f} minutes.",
        "",
        "Configurations: " + ", ".join(f"`{case}`" for case, _ in engines) + ".",
        *[f"* failed: `{name}`" for name in tests["failed"]],
        *[f"* refused: `{case}`: {trouble}" for case, trouble in refused],
        *[f"* skipped, {count}: {why}" for why, count in sorted(Counter(tests["skipped"]).items())],
    ]
