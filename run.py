#!/usr/bin/env python3
"""Front door: `python run.py --algo uft --data countdown`. Parses flags, prints, delegates."""

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
"""Packages of which an environment that somebody else made is likely to lack one."""

OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR}


def enter_environment() -> None:
    """Go on inside the .venv that install.sh made, so that nobody has to activate it; an active environment stays,
    unless what this needs is not in it."""
    if not VENV_PYTHON.exists() or Path(sys.prefix).resolve() == VENV_PYTHON.parents[1].resolve():
        return
    if "VIRTUAL_ENV" in os.environ:
        missing = next((name for name in NEEDED if importlib.util.find_spec(name) is None), None)
        if missing is None:
            return
        print(
            f"the active environment {sys.prefix} has no package {missing}: this goes on in {VENV_PYTHON.parents[1]}",
            file=sys.stderr,
            flush=True,
        )
        os.environ["VIRTUAL_ENV"] = str(VENV_PYTHON.parents[1])
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), *getattr(sys, "orig_argv", ["", *sys.argv])[1:]])


def enter_environment_of_module() -> None:
    """`enter_environment` of `python3 -m`: packages call it when they are imported to find the module that is run."""
    if sys.argv[:1] == ["-m"]:
        enter_environment()
        let_reader_leave()


def let_reader_leave() -> None:
    """Whoever reads this process's output may have had enough (| head): no reason for a traceback, nor for one at the
    exit's flush."""
    usual = sys.excepthook

    def untold(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not (issubclass(kind, BrokenPipeError) and reader_left()):
            usual(kind, error, trace)

    sys.excepthook = untold
    atexit.register(reader_left)


def reader_left() -> bool:
    """Whether nobody reads this process's output any more; then what is left of it goes nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # of an output that is none, or is closed
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        if any(event & select.POLLERR for _, event in output.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True
    return False


def parser(algo: str | None = None) -> argparse.ArgumentParser:
    """All flags (recipes/flags/parser.py); those of the file that --algo names with them."""
    from recipes.flags.parser import parser

    return parser(algo)


def main(arguments: list[str]) -> int:
    """Run what the command line says; returns the exit code."""
    from recipes.watch.signals import stopping

    try:
        with stopping():
            return _answered(arguments)
    except KeyboardInterrupt as stop:
        return _told_to_stop(getattr(stop, "number", signal.SIGINT))
    except ModuleNotFoundError as error:
        # An installation that was interrupted, or none: whatever is missing, the pinned lists have it.
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

    with contextlib.suppress(OSError):  # of a terminal that is gone
        print(
            f"run.py: stopped by {name_of_signal(number)}; what was begun goes on by the same command with --resume",
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
        print("run.py: no memory is left for this command: raise its limit (ulimit -v), end others", file=sys.stderr)
        return 2
    except OSError as error:
        # Of the disk, not of the program: full, read-only, somebody else's, a file where a folder should be.
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
    """What the flags ask for; `from_file`: those of --config's file."""
    from recipes.common.errors import ExperimentError

    table, stages, visible = flags["reproduce"], flags["pipeline"], flags.pop("visible_devices")
    chosen = [name for name in ("eval", "sweep", "reproduce", "pipeline") if flags.pop(name)]
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    if len(chosen) > 1:
        raise ExperimentError(f"--{chosen[0]} and --{chosen[1]} cannot be done at once")
    if flags["dry_run"] == "full" and {*chosen} - {"pipeline"}:
        raise ExperimentError(f"--dry_run full: of a training or --pipeline; for --{chosen[0]} give --dry_run alone")
    if flags["push_to_hub"] and {*chosen} & {"sweep", "reproduce"}:
        raise ExperimentError(
            f"--push_to_hub {flags['push_to_hub']}: --{chosen[0]} makes many models; give it to one run"
        )
    if flags["model"] and not flags["dry_run"]:
        # Defaults go by them.
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
    from recipes.commands.front import evaluate, train

    return evaluate(flags, from_file) if chosen else train(flags, from_file)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    enter_environment()
    sys.exit(main(sys.argv[1:]))
