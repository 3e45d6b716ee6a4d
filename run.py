#!/usr/bin/env python3
"""Entry point: `python run.py --algo uft --data countdown`. Parses flags, prints, delegates."""

import argparse
import atexit
import contextlib
import errno
import importlib.util
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV_PYTHON = ROOT / ".venv/bin/python"
NEEDED = ("pyarrow", "yaml", "torch", "transformers", "vllm", "verl")
"""Packages that an environment not made by install.sh is likely to lack."""

OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR}


def enter_environment() -> None:
    """Re-execute in the .venv made by install.sh, so that it need not be activated; an active environment stays unless
    it lacks a required package."""
    if not VENV_PYTHON.exists() or Path(sys.prefix).resolve() == VENV_PYTHON.parents[1].resolve():
        return
    if "VIRTUAL_ENV" in os.environ:
        missing = next((name for name in NEEDED if importlib.util.find_spec(name) is None), None)
        if missing is None:
            return
        print(
            f"the active environment {sys.prefix} lacks the package {missing}; using {VENV_PYTHON.parents[1]}",
            file=sys.stderr,
            flush=True,
        )
        os.environ["VIRTUAL_ENV"] = str(VENV_PYTHON.parents[1])
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), *getattr(sys, "orig_argv", ["", *sys.argv])[1:]])


def enter_environment_of_module() -> None:
    """`enter_environment` for `python3 -m`; packages call it when they are imported to find the module to run."""
    if sys.argv[:1] == ["-m"]:
        enter_environment()
        let_reader_leave()


def let_reader_leave() -> None:
    """Exit without a traceback, also from the final flush, when the reader of the output has closed it (| head)."""
    usual = sys.excepthook

    def untold(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not (issubclass(kind, BrokenPipeError) and reader_left()):
            usual(kind, error, trace)

    sys.excepthook = untold
    atexit.register(reader_left)


def reader_left() -> bool:
    """Whether the reader of the output is gone; the remaining output is then discarded."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # output is missing or closed
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        if any(event & select.POLLERR for _, event in output.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True
    return False


def parser(algo: str | None = None) -> argparse.ArgumentParser:
    """All flags (recipes/flags/parser.py), including options of a file named by --algo."""
    from recipes.flags.parser import parser

    return parser(algo)


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    from recipes.watch.signals import stopping

    try:
        with stopping():
            return _answered(arguments)
    except KeyboardInterrupt as stop:
        return _told_to_stop(getattr(stop, "number", signal.SIGINT))
    except ModuleNotFoundError as error:
        # The installation is missing or was interrupted; the pinned lists include every package.
        missing = (error.name or "").partition(".")[0]
        if not missing or (ROOT / missing).exists():
            raise
        where = f"the environment {sys.prefix}"
        if Path(sys.prefix).resolve() == VENV_PYTHON.parents[1].resolve():
            where += ", which ./install.sh did not finish"
        if not VENV_PYTHON.exists() and "VIRTUAL_ENV" not in os.environ:
            where = f"{sys.executable}, as nothing is installed here yet"
        print(f"run.py: the package {missing} is missing in {where}. Run ./install.sh (again)", file=sys.stderr)
        return 2


def _told_to_stop(number: int) -> int:
    from recipes.watch.signals import name_of_signal

    with contextlib.suppress(OSError):  # the terminal is gone
        print(
            f"run.py: stopped by {name_of_signal(number)}; run the same command with --resume to continue",
            file=sys.stderr,
        )
    return 128 + number


def _answered(arguments: list[str]) -> int:
    from recipes.common.errors import ExperimentError
    from recipes.watch.processes import RunBusyError

    try:
        code = _main(*_split(arguments))
        sys.stdout.flush()
        return code
    except (ExperimentError, RunBusyError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        if not reader_left():
            raise
        return 1
    except MemoryError:
        print("run.py: out of memory: raise the limit (ulimit -v) or end other processes", file=sys.stderr)
        return 2
    except OSError as error:
        # Disk errors: full, read-only, no permission, a file in place of a folder.
        if error.errno not in OF_THE_DISK:
            raise
        where = error.filename or "--out, or the temporary folder (TMPDIR)"
        print(f"run.py: {where}: {error.strerror}", file=sys.stderr)
        return 2


def _main(own: list[str], overrides: list[str]) -> int:
    from recipes.common.errors import ExperimentError
    from recipes.flags.config_file import by_file
    from recipes.flags.parser import read

    if {"--help", "-h"} & set(own):
        from recipes.flags.help_text import help_text

        print(help_text(own))
        return 0
    if "--completion" in own:
        from recipes.flags.help_text import completion

        print(completion())
        return 0
    line = read(own, overrides)
    flags = line.flags
    file = flags.pop("config")
    try:
        return _do(flags, line.from_file)
    except ExperimentError as error:
        raise by_file(error, file, line.from_file) from None


def _do(flags: dict[str, Any], from_file: Sequence[str]) -> int:
    """Do what the flags request; `from_file`: those from --config's file."""
    from recipes.common.errors import ExperimentError

    table, stages, visible = flags["reproduce"], flags["pipeline"], flags.pop("visible_devices")
    chosen = [name for name in ("eval", "sweep", "reproduce", "pipeline") if flags.pop(name)]
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    if len(chosen) > 1:
        raise ExperimentError(f"--{chosen[0]} and --{chosen[1]} cannot be combined")
    if flags["dry_run"] == "full" and {*chosen} - {"pipeline"}:
        raise ExperimentError(f"--dry_run full: only for training and --pipeline; with --{chosen[0]} use --dry_run")
    if flags["push_to_hub"] and {*chosen} & {"sweep", "reproduce"}:
        raise ExperimentError(
            f"--push_to_hub {flags['push_to_hub']}: --{chosen[0]} trains several models; use it with a single run"
        )
    if flags["model"] and not flags["dry_run"]:
        # Defaults depend on these files.
        from recipes.data.stored_template import fetch_small_files

        fetch_small_files(flags["model"])
    if chosen == ["sweep"]:
        from recipes.commands.sweep import sweep

        return sweep(flags)
    if chosen == ["reproduce"]:
        from recipes.commands.reproduce import reproduce

        return reproduce(table, flags)
    if chosen == ["pipeline"]:
        from recipes.commands.pipeline import pipeline

        return pipeline(stages, flags)
    from recipes.commands.evaluate import evaluate
    from recipes.commands.train import train

    return evaluate(flags, from_file) if chosen else train(flags, from_file)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    enter_environment()
    sys.exit(main(sys.argv[1:]))
