"""Two folders change places in one step, so that a reader, and a kill, find the one or the other."""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_REFUSED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""File systems (NFS, some of clusters) and kernels that cannot."""


def switch(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`; what stood there, if anything did, is where `new` was.

    Where the file system cannot exchange two names there are three renames, and `target` is away for a moment.

    Raises:
        OSError: neither could be done.
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
    """renameat2(2) with RENAME_EXCHANGE; False where it is not to be had."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if not renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        return True
    if (number := ctypes.get_errno()) in _REFUSED:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
