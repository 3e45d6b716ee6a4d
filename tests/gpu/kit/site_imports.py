"""Imports every package of a joined site: `python -m tests.gpu.kit.site_imports SITE`; exit code 1 where one fails."""

import importlib
import re
import sys
import tempfile
from pathlib import Path

from tests.gpu.faked import fake_driver
from tests.gpu.kit.check import MODULES

ALONE: dict[str, str] = {}
"""Packages that do not import by themselves anywhere, and why that is no fault of the kit."""

_MODULE = re.compile(r"(?P<name>[A-Za-z_]\w*)(\.py|(\.cpython-\w+|\.abi3)?[-\w]*\.so)?$")


def top_level(site: Path) -> list[str]:
    """What can be imported by a name of one part, as the files say."""
    names = set()
    for path in site.iterdir():
        found = _MODULE.match(path.name)
        if found and (path.suffix in (".py", ".so") or any(path.glob("*.py"))):
            names.add(found["name"])
    return sorted(names)


def main(site: Path) -> int:
    """Import all, and say which did not."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        fake_driver(Path(scratch))
        names = [*top_level(site), *MODULES]
        for name in names:
            try:
                importlib.import_module(name)
            except BaseException as error:  # some end the process
                if name not in ALONE:
                    failed += 1
                    print(f"module FAILED {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    print(f"{len(names) - failed} of {len(names)} modules import")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
