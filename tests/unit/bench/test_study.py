"""The study's runs: what the scan, its variants and the real loop make, counted and collected once."""

import argparse
import errno
import fcntl
import resource
from dataclasses import replace
from datetime import datetime
from itertools import product
from pathlib import Path
from threading import Thread

import pytest

import run
from bench.study import scan, variants
from bench.study.cells import (
    CORE,
    FEW_SOLUTIONS,
    FIRST,
    OTHERS,
    PROBLEMS,
    REAL,
    ROLLOUTS,
    SEE_NO_SOLUTION,
    SUPERVISED,
    Cell,
    Run,
    cells,
    flags_of,
    runs,
)
from bench.study.comparisons import by_solutions
from bench.study.figures import Point, Runs, count, named, of_lab, of_real, steps_of
from bench.study.scan import alike
from recipes.algorithms import algorithms
from recipes.commands.reproduce import runs_of
from recipes.common.errors import ExperimentError
from recipes.settings.applies import solutions

OF_COMMANDS = ("visible_devices", "eval", "sweep", "reproduce")


def of(*ends: float) -> Runs:
    """Runs that begin at 0 and end at these, by seed."""
    return {seed: {0: Point(0.0), 40: Point(end)} for seed, end in enumerate(ends)}


def test_the_scan_lists_every_run_once_and_the_separating_cells_first() -> None:
    every = runs()
    assert len(every) == len(set(every)) == len(cells()) * 21 * 5
    assert len(cells()) == 68
    assert {run.cell for run in every[:126]} == {*FIRST}
    assert {run.seed for run in every[:126]} == {0, 1, 2}


def test_a_run_is_in_the_file_once_its_lines_are(tmp_path: Path) -> None:
    file = tmp_path / "scan.csv"
    assert scan.made(file) == set()
    for seed in (0, 1):
        scan.append([[10, 0.4, 0.1, 1.0, "uft", seed, step, 0.5, 1.0, 7, 9, 3.2] for step in (0, 40)], file)
    assert scan.made(file) == {Run(REAL[0], "uft", seed) for seed in (0, 1)}
    assert file.read_text().count("depth") == 1
    assert of_lab(file)[REAL[0]]["uft"][1][40] == Point(0.5, 1.0, 7, 9)


def test_a_run_is_wholly_in_the_file_or_not_at_all(tmp_path: Path) -> None:
    """No room for its second line: the disk's end, or a limit of the file's size."""
    file = tmp_path / "scan.csv"
    lines = [[10, 0.4, 0.1, 1.0, "uft", 0, step, 0.5, 1.0, 7, 9, 3.2] for step in (0, 40)]
    scan.append(lines, file)
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            scan.append(lines, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    file.write_bytes(before[:-2])
    with pytest.raises(ValueError, match=r"scan\.csv: its last line is cut; remove it"):
        scan.made(file)
    file.write_bytes(before + before.splitlines(keepends=True)[1][:-1] + before)
    with pytest.raises(ValueError, match="line 4: more or fewer fields"):
        scan.made(file)


def test_nobody_reads_half_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scan.csv"
    lines = [[10, 0.4, 0.1, 1.0, "uft", 0, step, 0.5, 1.0, 7, 9, 3.2] for step in (0, 40)]
    scan.append(lines, file)
    found: list[set[Run]] = []
    reader = Thread(target=lambda: found.append(scan.made(file)))
    with file.open("ab", buffering=0) as writer:
        scan.lock(writer, fcntl.LOCK_EX)
        writer.write(b"10,0.4,0.1,1.0,r3,0,0")
        reader.start()
        reader.join(0.5)
        assert reader.is_alive()
        writer.write(b",0.5,1.0,7,9,3.2\n")
    reader.join()
    assert found == [{Run(REAL[0], algo, 0) for algo in ("uft", "r3")}]

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    scan.append([[10, 0.4, 0.1, 1.0, "sft", *line[5:]] for line in lines], file)
    assert len(scan.made(file)) == 3


def test_a_run_that_sees_no_solution_is_made_once_for_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "scan.csv"
    for algo, seed in product(("uft", "rft"), (0, 1)):
        scan.append([[10, 0.4, 0.1, 1.0, algo, seed, step, 0.25 * seed, 1.0, 7, 9, 3.2] for step in (0, 40)], file)
    noisier = Cell(10, 0.4, 0.3, 0.25)
    found = scan.shared(Run(noisier, "rft", 1), file)
    assert [[str(value) for value in row] for row in found] == [
        ["10", "0.4", "0.3", "0.25", "rft", "1", step, "0.25", "1.0", "7", "9", "3.2"] for step in ("0", "40")
    ]
    elsewhere = (Run(Cell(6, 0.4, 0.3), "rft", 1), Run(FEW_SOLUTIONS[0], "rft", 1))
    for other in (Run(noisier, "uft", 1), Run(noisier, "rft", 2), *elsewhere):
        assert scan.shared(other, file) == []
    known = algorithms()
    scanned = {*CORE, *OTHERS}
    assert {name for name in scanned if not solutions(known[name], known[name].stages)} == {*SEE_NO_SOLUTION}


def test_until_is_the_next_time_of_that_name_and_refused_if_it_is_none() -> None:
    evening = datetime(2026, 3, 31, 22, 15)
    assert scan.next_time("23:05", evening) == datetime(2026, 3, 31, 23, 5)
    assert scan.next_time("2:00", evening) == datetime(2026, 4, 1, 2, 0)
    assert scan.next_time("22:15", evening) == datetime(2026, 4, 1, 22, 15)
    for wrong in ("noon", "25:99", "", "18"):
        with pytest.raises(argparse.ArgumentTypeError, match="like 18:00"):
            scan.next_time(wrong)


def test_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that another process is at, or has made since this one began, is left to it."""
    monkeypatch.setattr(scan, "LOCKS", tmp_path)
    have: set[str] = {"old"}
    made: list[str] = []

    def work(title: str, *, ends: str = "") -> scan.Work:
        def make_it() -> None:
            made.append(title)
            have.update({title, ends})

        return title, make_it

    every = [work("old"), work("first", ends="by another"), work("at work"), work("by another"), work("last")]
    with scan.alone("scan at work") as mine:
        assert mine
        assert scan.carry_on("scan", None, every, lambda: have, []) == 0
    assert made == ["first", "last"]
    assert scan.carry_on("scan", None, every, lambda: have, []) == 0
    assert made == ["first", "last", "at work"]


def test_a_seed_that_was_run_twice_is_one_seed(tmp_path: Path) -> None:
    file = tmp_path / "validations.csv"
    # The third is the second's answers again.
    runs_ = (("depth15", 0.9), ("family15", 0.8), ("again-d15-q40-n1", 0.8))
    lines = [f"{sweep},uft-chain-s0,80,{acc}," for sweep, acc in runs_]
    file.write_text("\n".join(["sweep,run,step,val/acc,val/greedy", *lines, "depth15,uft-chain-s1,80,0.7,"]) + "\n")
    assert of_real(file)[FIRST[0]]["uft"] == {0: {80: Point(pytest.approx(0.85))}, 1: {80: Point(0.7)}}


def test_a_run_that_sees_no_solution_counts_in_every_cell_with_its_chains_base_and_steps(tmp_path: Path) -> None:
    file = tmp_path / "validations.csv"
    ends = [("d20-q75-n1", "rft", 40), ("d20-q75-n1", "uft", 40), ("d20-q75-n0", "uft", 40), ("d15-q75-n0", "uft", 40)]
    ends += [("d20-q75-n0", "sft", 128), ("seeds20q75n30", "uft", 60)]
    lines = [f"{sweep},{algo}-chain-s0,{step},0.5," for sweep, algo, step in ends]
    file.write_text("\n".join(["sweep,run,step,val/acc,val/greedy", *lines]) + "\n")
    found = of_real(file)
    assert count(found) == len(lines)
    assert {cell: sorted(methods) for cell, methods in found.items()} == {
        Cell(20, 0.75, 0.1): ["rft", "uft"],
        Cell(20, 0.75, 0.0): ["rft", "sft", "uft"],
        # Other chains; other steps.
        Cell(15, 0.75, 0.0): ["uft"],
        Cell(20, 0.75, 0.3): ["uft"],
    }


def test_the_command_that_makes_the_study_again_makes_every_real_run() -> None:
    given = vars(run.parser().parse_args(["--seeds", "0,1,2,3,4"]))
    _, listed = runs_of("study", {name: value for name, value in given.items() if name not in OF_COMMANDS})
    makes = set()
    for each in listed:
        e = each.planned.experiment
        if about := named("study", each.planned.name):
            cell, algo, seed = about
            assert (e.data_options["depth"], Path(e.model)) == (cell.depth, cell.base)
            if algo not in SEE_NO_SOLUTION:
                assert (e.demonstration_noise, e.demonstration_errors == "repeated") == (cell.noise, cell.repeated)
            assert (algo, seed) == (e.algo, e.seed)
            assert algo in (*SUPERVISED, "relift", "opsd", "sdpo") or (e.entropy_coef > 0) == (cell in REAL)
            makes.add((cell, algo, seed, e.T if algo not in SUPERVISED else 0))
    real = of_real()
    own = {
        (cell, algo, seed, steps_of(methods) if algo not in SUPERVISED else 0)
        for cell, methods in real.items()
        for algo, runs in methods.items()
        for seed in runs
        if algo not in SEE_NO_SOLUTION
    }
    assert own <= makes
    # What sees no solution was made in one of the cells that share it.
    shared = {(*alike(cell), algo, seed) for cell, algo, seed, _ in makes}
    unseen = [(cell, algo) for cell, methods in real.items() for algo in methods if algo in SEE_NO_SOLUTION]
    assert {(*alike(cell), algo, seed) for cell, algo in unseen for seed in real[cell][algo]} <= shared


def test_few_solutions_stand_beside_many_and_fill_their_supervised_steps() -> None:
    deep, shallow = FEW_SOLUTIONS[0], replace(FEW_SOLUTIONS[0], depth=10)
    found = {deep: {"uft": of(0.5)}, FIRST[0]: {"uft": of(0.9, 0.8), "dft": of(1.0)}, shallow: {"uft": of(0.1)}}
    shown = by_solutions(found, FIRST[0])
    assert shown.head == ("method", "16 solutions", "4,096 solutions")
    assert shown.rows == (("uft", "0.500 (0.500 to 0.500; 1)", "0.850 (0.800 to 0.900; 2)"),)
    for cell in (*FEW_SOLUTIONS, FIRST[1]):
        e = scan.plans(tuple(flags_of(cell, 0)))["sft_rft"]
        assert e.batch_size <= round(e.demonstrations * PROBLEMS)
        assert e.batch_size * e.n_rollout == ROLLOUTS
    longer = {
        run.cell: each.settings["sft_epochs"]
        for each in variants.variants()
        if each.name == variants.LONGER
        for run in each.runs
    }
    few = scan.plans(tuple(flags_of(FEW_SOLUTIONS[1], 0)))["uft"]
    alone = next(each for each in variants.variants() if each.name == variants.ALONE and each.problems == 64).of(few)
    assert (alone.data_options["n_train"], alone.demonstrations, alone.batch_size) == (64, 1.0, 32)
    assert replace(alone, data_options=few.data_options, demonstrations=few.demonstrations) == few
    assert [longer[cell] for cell in FEW_SOLUTIONS] == 2 * [64, 64, 16, 4]


def test_variants_change_what_they_say_and_nothing_else() -> None:
    experiment = scan.plans(tuple(flags_of(FIRST[0], 0)))["uft"]
    halved = next(each for each in variants.variants() if each.name == variants.rates(0.5)).of(experiment)
    assert (halved.lr, halved.sft_lr) == (experiment.lr / 2, experiment.sft_lr / 2)
    assert replace(halved, lr=experiment.lr, sft_lr=experiment.sft_lr) == experiment
    sham = next(each for each in variants.variants() if each.name == variants.SHAM).of(experiment)
    assert sham == replace(experiment, hints="sham")


def test_only_the_study_has_parts() -> None:
    from recipes.commands.reproduce import reproduce

    with pytest.raises(ExperimentError, match="no parts"):
        reproduce("uft_table", {"part": "scan"})
    for name, value in (("algo", "uft"), ("T", 5), ("out", "elsewhere"), ("seeds", "0")):
        given = {"part": "scan", "algo": None, "resume": False, name: value, "dry_run": "short"}
        with pytest.raises(ExperimentError, match=f"--{name}"):
            reproduce("study", given)
