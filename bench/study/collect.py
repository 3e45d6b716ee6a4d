"""`python3 -m bench.study.collect FOLDER...`: adds finished runs on chains to results/chain_cpu/validations.csv.

A folder is a sweep's, as out/study of `--reproduce study`. Its runs replace those of the same names; runs whose
settings are not those of their cell (hints without their likelihood, GRPO without the bonus) are skipped, but for
another file (--file), which has whatever is given. Then draw the page: python3 -m bench.study.page.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from bench.study.figures import REAL_FILE, named
from recipes.common.run_dir import RunDir, damaged_lines, read_metrics, write_text

HEAD = ("sweep", "run", "step", "val/acc", "val/greedy")


def rows_of(folder: Path) -> list[tuple[str, ...]]:
    """A line of the file for each validation of a finished run.

    Raises:
        ValueError: for metrics that are damaged or end before the run did.
    """
    metrics, summary = RunDir(folder).metrics, json.loads(RunDir(folder).summary.read_text(encoding="utf-8"))
    if bad := damaged_lines(metrics):
        raise ValueError(f"{metrics}: line {bad[0]} is damaged")
    found = {line["step"]: line["data"] for line in read_metrics(metrics) if "val/acc" in line["data"]}
    if not found or max(found) != summary.get("last step", max(found)):
        raise ValueError(f"{metrics}: its last validation is not the end of the run, step {summary.get('last step')}")
    for step, of in found.items():
        if not 0 <= of["val/acc"] <= 1:
            raise ValueError(f"{metrics}: step {step}: val/acc {of['val/acc']} is no share")
    about = (folder.parent.name, folder.name)
    return [(*about, str(step), str(of["val/acc"]), str(of.get("val/greedy", ""))) for step, of in found.items()]


def collect(folders: Sequence[Path], file: Path, *, of_cells: bool = True) -> tuple[int, list[str]]:
    """Add the finished runs in the folders to the file; their number, and the names of runs that are skipped, which is
    none unless they have to be `of_cells`.

    Raises:
        ValueError: for a run whose name and folder do not say its cell, or that is damaged, and for folders or a file
            that are not what they should be; the file then stays as it is.
    """
    added: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    skipped = []
    runs = sorted({summary.parent for folder in folders for summary in folder.glob("*/summary.json")})
    if not runs:
        raise ValueError(f"{', '.join(map(str, folders))}: no finished run in it; give the folder of a sweep")
    for run in runs:
        if (run.parent.name, run.name) in added:
            raise ValueError(f"{run}: a run of the same sweep and name is in another of the folders")
        if of_cells and named(run.parent.name, run.name) is None:
            skipped.append(run.name)
        else:
            added[run.parent.name, run.name] = rows_of(run)
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = [tuple(row) for row in csv.reader(before)][1:]
    if odd := [number for number, row in enumerate(kept, 2) if len(row) != len(HEAD) or not row[2].isdigit()]:
        raise ValueError(f"{file}: line {odd[0]} is damaged")
    rows = [row for row in kept if row[:2] not in added] + [row for each in added.values() for row in each]
    text = io.StringIO()
    rows.sort(key=lambda row: ("/".join(row[:2]), int(row[2])))
    csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
    write_text(file, text.getvalue())
    return len(added), skipped


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = ArgumentParser(prog="python3 -m bench.study.collect", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a sweep")
    parser.add_argument("--file", type=Path, help="a file for runs that the study's does not take")
    options = parser.parse_args(arguments)
    for folder in options.folders:
        if not folder.is_dir():
            parser.error(f"{folder}: is no folder")
    try:
        folders, file = [folder.resolve() for folder in options.folders], options.file or REAL_FILE
        count, skipped = collect(folders, file, of_cells=options.file is None)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    lines = [f"skipped, settings of its own: {name}" for name in skipped]
    print(f"{count} runs added to {file}", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
