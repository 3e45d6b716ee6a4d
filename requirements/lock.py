"""Writes requirements/locked-*.txt: the pins of each list with the SHA-256 of every file that Linux may install.

python requirements/lock.py, with `uv` on the path (PyPI has it); it reads the index, and downloads no package.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
LISTS = {
    "cpu": ["../requirements.txt", "cpu.txt"],
    "cuda": ["../requirements.txt", "cuda.txt", "constraints-cuda.txt"],
    "dev": ["dev.txt"],
    "eval": ["eval.txt"],
}
NOT_LOCKED = {"cpu": {"torch"}}
"""Builds of torch for the CPU come from an index of its own, in a step of its own."""

_WHEEL = re.compile(r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl$")
_PLATFORM = re.compile(r"(^|\.)(any|(many)?linux\w*_(x86_64|aarch64))(\.|$)")


def main() -> None:
    """All lists anew."""
    for name, files in LISTS.items():
        pins = [line for file in files for line in (HERE / file).read_text(encoding="utf-8").splitlines()]
        pins = [line for line in pins if "==" in line and not line.startswith(("#", "-"))]
        lines = [f"# Written by requirements/lock.py from {' and '.join(files)}: change those, and run it.", ""]
        for package in _packages(pins):
            if package["name"] not in NOT_LOCKED.get(name, ()):
                marker = f" ; {package['marker']}" if "marker" in package else ""
                hashes = [f"    --hash=sha256:{each}" for each in _hashes(package)]
                lines.append(" \\\n".join([f"{package['name']}=={package['version']}{marker}", *hashes]))
        (HERE / f"locked-{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _packages(pins: list[str]) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "pins.in"), Path(folder, "pylock.toml")
        source.write_text("\n".join(pins), encoding="utf-8")
        command = ["uv", "pip", "compile", "-q", "--no-deps", "--universal", "--python-version", "3.11"]
        subprocess.run([*command, "--format", "pylock.toml", str(source), "-o", str(target)], check=True)
        return tomllib.loads(target.read_text(encoding="utf-8"))["packages"]


def _hashes(package: dict) -> list[str]:
    wheels = [file for file in package.get("wheels", ()) if _fits(file["url"])]
    files = wheels or [package["sdist"]]
    if not files:
        sys.exit(f"{package['name']}: nothing that Linux could install")
    return sorted(file["hashes"]["sha256"] for file in files)


def _fits(url: str) -> bool:
    """Whether a wheel is for Linux (glibc) and Python 3.11 or 3.12."""
    found = _WHEEL.search(url)
    if found is None or not _PLATFORM.search(found["platform"]):
        return False
    return any(
        version.startswith("py")
        or version in ("cp311", "cp312")
        or (found["abi"] == "abi3" and version.startswith("cp3") and int(version[3:]) <= 12)
        for version in found["python"].split(".")
    )


if __name__ == "__main__":
    main()
