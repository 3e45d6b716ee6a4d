"""Swaps two folders atomically: a reader, or a kill, finds one or the other."""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_REFUSED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""Errors of file systems (NFS, some on clusters) and kernels that cannot swap."""


def switch(new: Path, target: Path) -> None:
    """Put the folder `new` in place of `target`; the old target, if there was one, ends up where `new` was.

    If the file system cannot swap names, three renames are made, and `target` is briefly missing.

    Raises:
        OSError: neither worked.
    """
    if not target.exists():
        os.rename(new, target)
        return
    if exchange(new, target):
        return
    old = new.with_suffix(".old")
    os.rename(target, old)
    os.rename(new, target)
    os.rename(old, new)


def exchange(one: Path, other: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE; False if unavailable."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if not renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        return True
    if (number := ctypes.get_errno()) in _REFUSED:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
