"""The kit rehearsed where no GPU is: `python -m tests.gpu.kit.rehearse --python python3.12 [--parts .gpu]`.

Packs (unless --parts names a folder that has parts), joins them by join.sh, and makes an environment that has torch
2.11.0 and nothing else, as the GPU machine does. With that torch and the site, under environment.sh, it imports every
package of the site and every module a run loads, and makes an engine configuration for each of vLLM's two model runners
(tests/gpu/faked.py). What it found is written into docs/gpu_status.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tests.gpu.kit import pack
from tests.gpu.status import ROOT, write_section

COMMAND = "python -m tests.gpu.kit.rehearse"
KIT = Path(__file__).resolve().parent
PART_MIB = 54
ENGINES = ("1x80gb Qwen2.5-0.5B", "h100x2 Llama-3.2-1B")
"""Cases of faked.py: vLLM 0.24 has a model runner of its own for each of the two architectures."""


def main(arguments: list[str]) -> int:
    """Rehearse; the exit code is 1 where something did not work."""
    flags = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n\n")[0])
    flags.add_argument("--python", default="python3.12", help="an interpreter of the GPU machine's version")
    flags.add_argument("--parts", type=Path, help="folder of what pack.py wrote; without it, they are made anew")
    given = flags.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rehearse-") as scratch:
        parts, site, env = given.parts or Path(scratch) / "parts", Path(scratch) / "site", Path(scratch) / "env"
        if not any(parts.glob("part-*")):
            pack.main(["--python", given.python, "--out", str(parts), "--part_mib", str(PART_MIB)])
        sizes = [file.stat().st_size / 2**20 for file in sorted(parts.glob("part-*"))]
        subprocess.run(["bash", str(KIT / "join.sh"), str(parts), str(site)], check=True)
        python = torch_alone(given.python, env)
        version = subprocess.check_output([python, "--version"], text=True).split()[1]
        printed = [
            *under_site(site, [python, "-m", "tests.gpu.kit.site_imports", str(site)]),
            *under_site(site, [python, "-m", "tests.gpu.faked", *ENGINES]),
        ]
    lines = summary(version, sizes, (time.monotonic() - started) / 60, printed)
    write_section(COMMAND, lines)
    print("\n".join(lines))
    return int(any(line.startswith("*") for line in lines))


def torch_alone(python: str, env: Path) -> str:
    """The interpreter of a new environment with the pinned torch and what it needs."""
    subprocess.run([python, "-m", "venv", str(env)], check=True)
    made, uv = str(env / "bin/python"), shutil.which("uv")
    install = [uv, "pip", "install", "--python", made] if uv else [made, "-m", "pip", "install"]
    torch = pack.pinned(pack.REQUIREMENTS / "cuda.txt")["torch"]
    constraints = str(pack.REQUIREMENTS / "constraints-cuda.txt")
    subprocess.run([*install, "--quiet", "-c", constraints, torch], check=True)
    return made


def under_site(site: Path, command: list[str]) -> list[str]:
    """What a command prints with the site before the environment's own packages, and a line where it failed."""
    entered = f'source {KIT / "environment.sh"} "$0" && exec "$@"'
    # Else our packages would go on in the .venv beside them.
    variables = {**os.environ, "VIRTUAL_ENV": str(Path(command[0]).parents[1])}
    done = subprocess.run(
        ["bash", "-c", entered, str(site), *command], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="", flush=True)
    lines = done.stdout.splitlines()
    told = any(" FAILED" in line for line in lines)
    return lines if told or not done.returncode else [*lines, f"{command[2]} FAILED: exit code {done.returncode}"]


def summary(version: str, sizes: list[float], minutes: float, printed: list[str]) -> list[str]:
    """The lines for docs/gpu_status.md."""
    said = "; ".join(line for line in printed if line.endswith("import") or line.startswith("engine ok"))
    lines = [
        f"`{COMMAND}`, {date.today()} (Python {version}, no GPU): {len(sizes)} parts of at most {max(sizes):.1f} MiB, "
        f"{sum(sizes):.0f} MiB in all; {said}. {minutes:.0f} minutes.",
    ]
    large = [f"a part of {size:.1f} MiB, more than {PART_MIB}" for size in sizes if size > PART_MIB]
    troubles = [*large, *(line for line in printed if " FAILED" in line)]
    return [*lines, *(["", *(f"* {line}" for line in troubles)] if troubles else [])]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
