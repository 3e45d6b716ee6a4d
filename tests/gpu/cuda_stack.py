"""The tests under the CUDA stack without a GPU: `python -m tests cuda-stack [--only tests | engines] [--env DIR]`.

Installs the CUDA stack into an environment of its own (3.3 GB to fetch, 10 GB on the disk, 8 minutes), runs there the
contract and unit tests and the engine configurations of every profile on a faked card (faked.py), and writes what it
found into docs/gpu_status.md. The environment is deleted at the end, unless --env names a folder for it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from tests.gpu.status import ROOT, write_section

COMMAND = "python -m tests cuda-stack"
TESTS = ["tests/contract", "tests/unit", "-m", "not extended"]
TWO = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
VERSIONS = """
import platform, torch, vllm
print(f"Python {platform.python_version()}, torch {torch.__version__}, vLLM {vllm.__version__}")
"""


def main(arguments: list[str]) -> int:
    """Install, run, write; the exit code is 1 where a test failed or an engine was refused."""
    flags = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n\n")[0])
    flags.add_argument("--python", default=sys.executable, help="Python 3.11 or 3.12 to make the environment with")
    flags.add_argument("--env", type=Path, help="keep the environment in this folder; one that is there is completed")
    flags.add_argument("--only", choices=PARTS, help="one of the parts; the other's last result stays as it is written")
    given = flags.parse_args(arguments)
    failed = False
    with tempfile.TemporaryDirectory(prefix="cuda-stack-") as scratch:
        env = (given.env or Path(scratch) / "env").resolve()
        install(env, given.python)
        versions = subprocess.check_output([env / "bin/python", "-c", VERSIONS], text=True).strip()
        for name in [given.only] if given.only else PARTS:
            started = time.monotonic()
            fine, found = PARTS[name](env, Path(scratch))
            minutes = (time.monotonic() - started) / 60
            where = f"{versions}, no GPU, {minutes:.0f} min on {os.cpu_count()} cores"
            write_section(f"{COMMAND}: {name}", [f"{date.today()} ({where}): {found[0]}", *found[1:]])
            print("\n".join(found))
            failed |= not fine
    return int(failed)


def install(env: Path, python: str) -> None:
    """The CUDA stack and the tools of tests into `env`, by install.sh."""
    if not (env / "bin/python").exists():
        subprocess.run([python, "-m", "venv", str(env)], check=True)
    command = [str(ROOT / "install.sh"), "--profile", "cuda", "--dev"]
    subprocess.run(command, cwd=ROOT, env=variables_of(env), check=True)


def variables_of(env: Path) -> dict[str, str]:
    """This process's variables, with that environment as the active one: install.sh installs into it, and our packages,
    which would else go on in the .venv beside them, stay in it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {"VIRTUAL_ENV": str(env)}


def run_tests(env: Path, scratch: Path) -> tuple[bool, list[str]]:
    """Whether all is well, and the lines for docs/gpu_status.md."""
    report = scratch / "tests.xml"
    command = [env / "bin/python", "-m", "pytest", *TESTS, *TWO, "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    code = subprocess.call(command, cwd=ROOT, env=variables_of(env))
    return not code, told_tests(outcomes(report))


def outcomes(report: Path) -> dict[str, list[str]]:
    """Tests by outcome, from pytest's junit file; of skipped ones the reasons."""
    found: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            found["failed"].append(name)
        elif (skip := case.find("skipped")) is not None:
            # Without the place of a file, which is this machine's.
            found["skipped"].append(re.sub(" is not at .*", " is not here", str(skip.get("message"))))
        else:
            found["passed"].append(name)
    return found


def told_tests(found: dict[str, list[str]]) -> list[str]:
    """How many, which failed, and why some were skipped."""
    return [
        ", ".join(f"{len(found[name])} {name}" for name in ("passed", "failed", "skipped")) + ".",
        *[f"* failed: `{name}`" for name in found["failed"]],
        *[f"* skipped, {count}: {why}" for why, count in sorted(Counter(found["skipped"]).items())],
    ]


def run_engines(env: Path, scratch: Path) -> tuple[bool, list[str]]:
    """Whether all is well, and the lines for docs/gpu_status.md."""
    faked = [env / "bin/python", "-m", "tests.gpu.faked"]
    done = subprocess.run(faked, cwd=ROOT, env=variables_of(env), stdout=subprocess.PIPE, text=True, check=False)
    return not done.returncode, told_engines(done.stdout)


def told_engines(printed: str) -> list[str]:
    """How many of the configurations are as their profile says, which they are, and what is wrong with others."""
    lines = [line.removeprefix("engine ") for line in printed.splitlines() if line.startswith("engine ")]
    fine = [line.removeprefix("ok").strip() for line in lines if line.startswith("ok ")]
    return [
        f"{len(fine)} of {len(lines)} configurations are as their profile says: {', '.join(fine)}.",
        *[f"* {line}" for line in lines if not line.startswith("ok ")],
    ]


PARTS = {"tests": run_tests, "engines": run_engines}
"""What is run, by the name that --only takes."""
