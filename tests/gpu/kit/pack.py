"""Fetch, strip and split what a machine with torch 2.11.0 (CUDA 13) and Python 3.12 lacks to run this repository.

    python -m tests.gpu.kit.pack --python python3.12 --out .gpu

Every file must have a hash that requirements/locked-*.txt lists. Leaves files part-00, part-01, ... of at most
--part_mib in --out, and their number and hashes in the file manifest; join.sh makes an importable folder of them there.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from recipes.doctor.report import normalise

ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = ROOT / "requirements"
# Of requirements.txt: 70 MB that no run needs.
NOT_NEEDED = {"wandb", "py-spy", "virtualenv", "supervisor"}
# Of what the CUDA stack adds. Its other packages are the machine's own torch, or kernels vLLM goes without on Hopper.
OF_CUDA = {"apache-tvm-ffi", "diskcache", "docstring_parser", "nvidia-ml-py", "tabulate", "xgrammar"}
OF_DEV = {"execnet", "hypothesis", "iniconfig", "pluggy", "pytest", "pytest-xdist", "sortedcontainers"}
# Inside packages: FlashAttention 2 (Hopper has 3), vLLM's server in Rust, kernels of Blackwell, Ray's Java and pages.
NOT_NEEDED_FILES = (
    "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so",
    "vllm/vllm-rs",
    "vllm/third_party/fmha_sm100",
    "ray/jars",
    "ray/rllib",
    "ray/dashboard/client",
    "bin",
)


def pins() -> list[str]:
    """name==version of every package that travels, but vLLM itself (whose dependencies do not all)."""
    wanted = {"requirements/constraints-cuda.txt": OF_CUDA, "requirements/dev.txt": OF_DEV}
    found = [pin for name, pin in pinned(ROOT / "requirements.txt").items() if name not in NOT_NEEDED]
    for file, names in wanted.items():
        here = pinned(ROOT / file)
        if missing := names - here.keys():
            raise SystemExit(f"pack: {file} no longer pins {', '.join(sorted(missing))}")
        found += [here[name] for name in sorted(names)]
    return found


def pinned(file: Path) -> dict[str, str]:
    """{name: name==version} of a list of requirements, as far as it pins."""
    lines = [line.split(";")[0].strip() for line in file.read_text().splitlines()]
    return {line.split("==")[0]: line for line in lines if "==" in line and not line.startswith("#")}


def locked(wanted: list[str]) -> str:
    """The lines of requirements/locked-*.txt for these pins: with the hashes of their files."""
    entries = {}
    for name in ("cuda", "dev"):
        for entry in re.split(r"\n(?=\S)", (REQUIREMENTS / f"locked-{name}.txt").read_text()):
            entries[entry.split(" ")[0]] = entry.strip()
    keys = ["==".join((normalise(pin.split("==")[0]), pin.split("==")[1])) for pin in wanted]
    if missing := sorted(set(keys) - entries.keys()):
        raise SystemExit(f"pack: no hash of {', '.join(missing)}; write the lists anew: python requirements/lock.py")
    return "\n".join(entries[key] for key in keys) + "\n"


def fetch(python: str, lines: str, site: Path) -> None:
    """Those packages alone, for that interpreter, into `site`: by uv where it is there (it is quicker), or pip."""
    uv = shutil.which("uv")
    install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install", "--no-compile"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(lines)
        file.flush()
        command = [*install, "--quiet", "--no-deps", "--require-hashes", "--target", str(site), "-r", file.name]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        differs = re.search("hash", done.stderr, re.IGNORECASE)
        why = "a file is not the one that was locked" if differs else "not everything could be fetched"
        raise SystemExit(f"{done.stderr.strip()}\npack: {why}; nothing was packed")


def strip(site: Path) -> None:
    """Delete what is in the packages and never used there."""
    for name in NOT_NEEDED_FILES:
        path = site / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in site.rglob("__pycache__"):
        shutil.rmtree(path)


def split(site: Path, out: Path, part_mib: int) -> list[Path]:
    """`site` as part-00, part-01, ... in `out`, one compressed archive, cut; and their manifest, for join.sh."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("part-*"), out / "manifest"):
        old.unlink(missing_ok=True)
    # Blocks, so that xz unpacks on several cores.
    command = "tar -C {0} -cf - . | xz -T0 -6 --block-size=32MiB | split -b {1}M -d - {2}/part-"
    subprocess.run(["bash", "-o", "pipefail", "-c", command.format(site, part_mib, out)], check=True)
    parts = sorted(out.glob("part-*"))
    hashes = [f"{hashlib.sha256(part.read_bytes()).hexdigest()}  {part.name}\n" for part in parts]
    (out / "manifest").write_text("".join([f"{len(parts)} parts\n", *hashes]))
    return parts


def check_python(python: str) -> None:
    """End with a line where that is no interpreter."""
    try:
        done = subprocess.run([python, "-c", "print(1 + 1)"], capture_output=True, text=True, check=False)
        works = done.stdout.strip() == "2"
    except OSError:
        works = False
    if not works:
        raise SystemExit(
            f"pack: --python {python}: no Python starts by that name; name one of the GPU machine's version"
        )


def main(arguments: list[str]) -> int:
    """Pack; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m tests.gpu.kit.pack", description=__doc__.split("\n\n")[0])
    flags.add_argument("--python", default="python3.12", help="an interpreter of the machine's version")
    flags.add_argument("--out", type=Path, default=ROOT / ".gpu")
    flags.add_argument("--site", type=Path, help="also keep the folder that the parts hold")
    flags.add_argument(
        "--without", default="", help="packages the machine has in a version that will do: numba,llvmlite"
    )
    flags.add_argument("--part_mib", type=int, default=54)
    given = flags.parse_args(arguments)
    check_python(given.python)
    wanted = [pin for pin in pins() if pin.split("==")[0] not in given.without.split(",")]
    vllm = pinned(REQUIREMENTS / "cuda.txt")["vllm"]
    with tempfile.TemporaryDirectory(prefix="kit-") as scratch:
        site = given.site or Path(scratch) / "site"
        fetch(given.python, locked([*wanted, vllm]), site)
        strip(site)
        parts = split(site, given.out, given.part_mib)
    total = sum(part.stat().st_size for part in parts) / 2**20
    print(f"{len(parts)} parts, {total:.0f} MiB, in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
