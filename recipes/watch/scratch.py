"""A command's own folders in the system's temporary folder; the next command removes those of killed commands."""

import fcntl
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from recipes.common.errors import ExperimentError
from recipes.watch.processes import processes_of
from recipes.watch.signals import undisturbed

PREFIX = "uft-"
LONGEST_TMPDIR = 30
"""Longest folder name, in characters, under which Ray's socket names stay within the system's limit."""

CACHES = ("XDG_CACHE_HOME", "TRITON_HOME", "FLASHINFER_WORKSPACE_BASE")
"""Environment variables for the cache folders of libraries."""

COMPILED = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable for torch's cache of compiled code, which is worth keeping between runs."""

_NOTE = ".owner"
"""File in each folder, locked while its command runs: the folder of the run it is for, or a dash."""


@contextmanager
def short_folder(run: Path | None = None) -> Iterator[Path]:
    """A new folder for Ray's sockets, whose full names may have 107 characters, Ray's own part taking 64 of them.

    Args:
        run: folder of the run whose processes use it; it is kept while they run.

    Raises:
        ExperimentError: no temporary folder is both short enough and writable.
    """
    tried = [tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"]
    for place in tried:
        if len(place) <= LONGEST_TMPDIR and os.access(place, os.W_OK | os.X_OK):
            break
    else:
        raise ExperimentError(
            f"no writable temporary folder with a name of at most {LONGEST_TMPDIR} characters "
            f"({', '.join(dict.fromkeys(tried))}): set TMPDIR to one"
        )
    with _owned(Path(place), str(run.resolve()) if run else "-") as folder:
        yield folder


@contextmanager
def data_folder() -> Iterator[Path]:
    """A new folder for files that are only read once."""
    with _owned(Path(tempfile.gettempdir()), "-") as folder:
        yield folder


def caches(folder: Path) -> dict[str, str]:
    """Environment of a run whose home is not writable: libraries keep their caches in `folder`; models and the hub's
    token are read where they are. Empty if home is writable."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    there = next(place for place in (usual, *usual.parents) if place.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):
            return {}
    except OSError:
        hub = Path(os.environ.get("HF_HOME") or usual / "huggingface")
        read = {"HF_HUB_CACHE": hub / "hub", "HF_TOKEN_PATH": hub / "token"}
        kept = {name: os.environ.get(name) or str(place) for name, place in read.items()}
        return {**kept, **dict.fromkeys(CACHES, str(folder / "cache"))}


def usual_compiled() -> str:
    """torch's default for COMPILED: in the temporary folder, which is a run's own."""
    with suppress(KeyError, OSError):
        return str(Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}")
    # A user without a name, in a container.
    return str(Path(tempfile.gettempdir()) / f"torchinductor_{os.geteuid()}")


@contextmanager
def _owned(place: Path, note: str) -> Iterator[Path]:
    remove_left_over(place)
    # mkdtemp makes folders that only their owner may read.
    with ExitStack() as stack:
        with undisturbed():
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            stack.callback(_removed, folder)
            descriptor = os.open(folder / _NOTE, os.O_RDWR | os.O_CREAT, 0o600)
            stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, os.fsencode(note))
        yield folder


def _removed(folder: Path) -> None:
    with undisturbed():
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_over(place: Path) -> None:
    """Remove this user's folders in `place` whose commands were killed and whose runs have no processes left."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            descriptor = os.open(folder / _NOTE, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Empty: its command has not locked it yet.
                note = os.fsdecode(os.read(descriptor, 8192))
                if note == "-" or (note and not processes_of(Path(note))):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
