"""The study's scan and page: runs are counted once, and pages are a function of committed figures."""

import argparse
import re
from dataclasses import replace
from datetime import datetime
from itertools import product
from pathlib import Path
from statistics import fmean

import pytest

import run
from bench.study import page, scan, variants
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
from bench.study.collect import collect
from bench.study.figures import Point, cell_of, committed, count, named, of_lab, of_real, ranked, steps_of, worst
from bench.study.maps import curves, lab_map, real_map
from bench.study.page import agreement, beside, by_solutions, by_variant, drawn, table, wins
from bench.study.scan import alike
from eval.reporting.cells import Table
from recipes import ROOT
from recipes.algorithms import algorithms
from recipes.commands.reproduce import runs_of
from recipes.common.errors import ExperimentError
from recipes.settings.applies import solutions
from tests.helpers.run_folders import settings_of, write_run

OF_COMMANDS = ("visible_devices", "eval", "sweep", "reproduce")


def of(*ends: float) -> page.Runs:
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


def test_what_is_open_is_open_and_one_seed_settles_nothing() -> None:
    methods = {"a": of(0.9, 0.92, 0.91), "b": of(0.89, 0.93, 0.9), "c": of(0.5, 0.52, 0.51), "d": of(0.8)}
    assert ranked(methods) == [("a", "best"), ("b", "open"), ("d", "?"), ("c", "behind")]
    # Of other seeds than the best's: by Welch, not by the pair they share.
    methods = {"a": of(0.95, 0.94, 0.95), "late": of(0.0, 0.1, 0.4, 0.0, 0.0), "near": of(0.93, 0.95, 0.94, 0.95)}
    assert ranked(methods) == [("a", "best"), ("near", "open"), ("late", "behind")]


def test_ties_are_ties() -> None:
    assert ranked({"a": of(1.0), "b": of(1.0), "c": of(0.9)}) == [("a", "best"), ("b", "best"), ("c", "?")]


def test_the_worst_cell_of_ours_is_the_largest_gap() -> None:
    found = {Cell(10, 0.4, 0.1): {"uft": of(0.9), "dft": of(1.0)}, Cell(6, 0.4, 0.1): {"uft": of(0.5), "rft": of(0.8)}}
    assert worst(found).startswith("uft at depth 6, q 0.4, 10% wrong: 0.500, 30.0 points below rft (0.800; 1 seed")


def test_a_seed_that_was_run_twice_is_one_seed(tmp_path: Path) -> None:
    file = tmp_path / "validations.csv"
    lines = [f"{sweep},uft-chain-s0,80,{acc}," for sweep, acc in (("depth15", 0.9), ("family15", 0.8))]
    file.write_text("\n".join(["sweep,run,step,val/acc,val/greedy", *lines, "depth15,uft-chain-s1,80,0.7,"]) + "\n")
    assert of_real(file)[FIRST[0]]["uft"] == {0: {80: Point(pytest.approx(0.85))}, 1: {80: Point(0.7)}}


@pytest.mark.parametrize(
    ("sweep", "cell"),
    [
        ("d20-q75-n1", Cell(20, 0.75, 0.1)),
        ("sft-d6-q40-n0", Cell(6, 0.4, 0.0)),
        ("seeds-d15-q40-n1r", Cell(15, 0.4, 0.1, repeated=True)),
        ("seeds20q75n30", Cell(20, 0.75, 0.3)),
        ("family15", FIRST[0]),
        ("noise10", REAL[0]),
        ("clock10", REAL[0]),
    ],
)
def test_a_sweeps_name_says_its_cell(sweep: str, cell: Cell) -> None:
    assert cell_of(sweep) == cell


def test_a_sweep_whose_name_says_no_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="smoke: no such sweep"):
        cell_of("smoke")


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


def test_finished_runs_join_the_committed_ones(tmp_path: Path) -> None:
    file = tmp_path / "validations.csv"
    file.write_text("sweep,run,step,val/acc,val/greedy\nfamily15,uft-chain-s0,0,0.1,\nstudy,old,0,0.5,\n")
    sweep = tmp_path / "study"
    for name in ("uft-chain-tiny-chain-q40-d15-n1r-s3", "uft-chain-tiny-chain-q75-d20-n3-nolikelihood-s0"):
        write_run(sweep / name, settings_of("uft"), [2, 4], of=8)
    write_run(sweep / "rft-chain-tiny-chain-q40-d15-n1-s0", settings_of("rft"), [2, 4], finished=False)
    for _ in range(2):
        assert collect([sweep], file) == (1, ["uft-chain-tiny-chain-q75-d20-n3-nolikelihood-s0"])
        assert file.read_text().splitlines() == [
            "sweep,run,step,val/acc,val/greedy",
            "family15,uft-chain-s0,0,0.1,",
            "study,old,0,0.5,",
            "study,uft-chain-tiny-chain-q40-d15-n1r-s3,0,0.25,",
            "study,uft-chain-tiny-chain-q40-d15-n1r-s3,5,0.5,",
        ]
    before = file.read_bytes()
    write_run(sweep / "uft-countdown-s0", settings_of("uft"), [2, 4])
    with pytest.raises(ValueError, match="no such sweep"):
        collect([sweep], file)
    assert file.read_bytes() == before


def test_the_name_of_a_real_run_says_its_cell() -> None:
    assert named("study", "uft_adaptive-chain-tiny-chain-q40-d15-n1r-s3") == (
        *(Cell(15, 0.4, 0.1, repeated=True), "uft_adaptive", 3),
    )
    assert named("family34-d15-q40-n1r", "r3-chain-s4") == (Cell(15, 0.4, 0.1, repeated=True), "r3", 4)
    assert named("study", "rft-chain-tiny-chain-q40-d10-n1-entropy0-s0") is None
    assert named("nolikelihood34-20q75n30", "uft-chain-s3") is None


def test_lab_and_real_loop_are_compared_where_they_had_equal_settings() -> None:
    flat, deep = Cell(6, 0.4, 0.1), Cell(20, 0.75, 0.3)
    longer: page.Runs = {0: {60: Point(0.0)}}
    real = {flat: {"uft": of(0.9), "rft": of(0.5, 0.6), "hpt": of(0.4)}, deep: {"uft": longer}, REAL[0]: {"uft": of(0)}}
    lab = {cell: {"uft": of(0.86), "rft": of(0.8)} for cell in real}
    words, far = agreement(lab, real)
    assert words.startswith("2 pairs of a cell and a method with equal settings: the lab's mean at the end is within 5")
    assert "real loop's in 1, and more than 10 points away in 1." in words
    assert far.rows == ((flat.title, "rft", "0.800 (1)", "0.550 (2)"),)
    # Two cells that share GRPO's runs; both are near 0.
    twice = {Cell(20, 0.4, noise): {"uft": of(0.9), "rft": of(0.01)} for noise in (0.0, 0.1)}
    words, _ = agreement(twice, twice)
    assert words.startswith("3 pairs ")
    assert "In 1 both are below 0.05" in words


def test_where_a_method_wins_and_how_far_it_is_behind() -> None:
    deep, flat = Cell(10, 0.4, 0.1), Cell(6, 0.4, 0.1)
    found = {deep: {"uft": of(0.9), "dft": of(1.0)}, flat: {"uft": of(0.5), "rft": of(0.8), "dft": of(0.76)}}
    assert wins(found).rows == (
        ("rft", "1", "1", "1", "0.0", "0.0", flat.title),
        ("dft", "2", "1", "2", "2.0", "4.0", flat.title),
        ("uft", "2", "0", "0", "20.0", "30.0", flat.title),
    )
    unsolved = {Cell(20, 0.25, 0.3): {"uft": of(0.0), "rft": of(0.01)}}
    assert wins(found | unsolved).rows == wins(found).rows


def test_runs_that_several_cells_share_count_once_towards_a_ranking() -> None:
    found = {Cell(10, 0.4, noise): {"uft": of(0.9), "rft": of(0.5)} for noise in (0.0, 0.1, 0.3)}
    assert [row[:2] for row in wins(found, least=2).rows] == [("uft", "3")]
    found[Cell(20, 0.4, 0.0)] = {"rft": of(0.5)}
    assert [row[:2] for row in wins(found, least=2).rows] == [("uft", "3"), ("rft", "4")]


def test_a_table_has_means_ranges_and_costs() -> None:
    runs_ = {seed: {0: Point(0.0, 1.0, 0, 0), 40: Point(end, 1.0, 4000, 9000)} for seed, end in enumerate((0.4, 0.6))}
    row = table({"uft": runs_}).rows[0]
    assert row == ("uft", "best", "2", "0.000", "0.500", "0.500", "0.400 to 0.600", "0.000 to 1.000", "4 k", "9 k")


def test_the_lab_beside_the_real_loop_says_where_it_is_apart() -> None:
    def at_20(*values: float) -> page.Runs:
        return {seed: {20: Point(value)} for seed, value in enumerate(values)}

    real = {REAL[0]: {"r3": at_20(0.4, 0.6), "rft": at_20(0.0, 0.0), "adaback": at_20(0.40, 0.42)}}
    lab = {
        REAL[0]: {"r3": at_20(0.5, 0.7), "rft": at_20(0.0, 0.0), "adaback": at_20(0.80, 0.82), "sft": at_20(1.0, 1.0)}
    }
    assert [(row[1], *row[-2:]) for row in beside(lab, real).rows] == [
        # Welch: .1 +- 12.706 * sqrt(2 * .1^2)
        ("r3", "-1.697 to +1.897", "within"),
        ("rft", "+0.000 to +0.000", "within"),
        ("adaback", "+0.220 to +0.580", "apart"),
    ]


def test_the_lab_draws_the_real_loops_curves_on_two_cells() -> None:
    figures = committed()
    rows = beside(figures.variants[variants.AS_REAL], figures.real).rows
    twins = [run for each in variants.variants() if each.name == variants.AS_REAL for run in each.runs]
    assert {(run.cell.title, run.algo) for run in twins} == {row[:2] for row in rows}
    # One in twenty is by chance; where seeds differ much, an interval holds anything: the means are near, too.
    assert len([row for row in rows if row[-1] != "within"]) <= len(rows) / 20
    for row in rows:
        mine, theirs = (float(cell.split()[0]) for cell in row[3:5])
        assert abs(mine - theirs) < 0.05, row


def test_the_committed_page_is_redrawn_to_the_digit() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text.partition(page.BEGIN)[2].partition(page.END)[0].strip() == drawn(committed()).strip()


def test_a_subset_of_the_figures_gives_the_same_rows(tmp_path: Path) -> None:
    lines = scan.FILE.read_text(encoding="utf-8").splitlines()
    subset = tmp_path / "scan.csv"
    subset.write_text("\n".join([lines[0], *(line for line in lines if ",uft," in line or ",rft," in line)]) + "\n")
    whole = {row[0]: row for row in table(of_lab()[REAL[0]]).rows}
    # Standings are to the best of what is there; all else is a method's own.
    for row in table(of_lab(subset)[REAL[0]]).rows:
        assert [cell for cell in row if cell != row[1]] == [cell for cell in whole[row[0]] if cell != whole[row[0]][1]]


def test_the_picture_is_the_same_each_time() -> None:
    few = {
        cell: {algo: methods[algo] for algo in ("uft", "rft")} for cell, methods in of_real().items() if cell == REAL[0]
    }
    assert real_map(few) == real_map(few)
    grid = {cell: {"uft": of(0.9), "rft": of(0.4)} for cell in (*FIRST, *REAL)}
    assert lab_map(grid) == lab_map(grid)
    assert curves(grid) == curves(grid) != curves({cell: {"uft": of(0.8, 0.7, 0.9)} for cell in grid})


def test_variants_are_compared_on_the_seeds_they_share() -> None:
    cell = FIRST[0]
    found = {
        "a": {cell: {"uft": of(0.8, 0.9, 0.4), "rft": of(0.1)}},
        "b": {cell: {"uft": of(0.5, 0.7)}},
        "none": {},
    }
    assert by_variant(found, cell).rows == (("uft", "0.700 (0.400 to 0.900; 3)", "0.600 (0.500 to 0.700; 2)", ""),)
    assert by_variant(found, cell, same_seeds=True).rows == (
        ("uft", "0.850 (0.800 to 0.900; 2)", "0.600 (0.500 to 0.700; 2)", "", "a"),
    )
    assert by_variant({"a": {cell: {"rft": of(0.0)}}, "b": {cell: {"rft": of(0.0)}}}, cell, same_seeds=True).rows == (
        ("rft", "0.000 (0.000 to 0.000; 1)", "0.000 (0.000 to 0.000; 1)", ""),
    )


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


def test_the_page_is_also_html_with_its_anchors_and_pictures() -> None:
    text = "# Where? (a map)\n\n[down](#our-own-method) ![map](../results/study/map.png) [all](sweeps.md#many)\n\n"
    shown = page.as_html(f"{text}## Our own method\n\n| a | b |\n|---|---|\n| .5 | <1 |\n")
    assert '<h1 id="where-a-map">' in shown
    assert '<a href="#our-own-method">' in shown
    assert '<h2 id="our-own-method">' in shown
    assert 'src="map.png"' in shown
    assert '<a href="../../docs/sweeps.md#many">' in shown
    assert "<td>&lt;1</td>" in shown
    written = (page.OUT / "index.html").read_text(encoding="utf-8")
    whole = f"{page.PAGE.read_text(encoding='utf-8')}\n\n{page.tables(page.of_cells(committed().lab))}\n"
    assert written == page.as_html(whole)
    assert set(re.findall('href="#([^"]*)"', written)) <= {*re.findall(' id="([^"]*)"', written)}


def test_a_table_without_rows_is_left_out() -> None:
    empty, full = Table(("method",), ()), Table(("method",), (("uft",),))
    assert page.tables([("none", empty), ("some", full), ("words", "so")]) == (
        "## some\n\n| method |\n|---|\n| uft |\n\n## words\n\nso"
    )


def test_variants_change_what_they_say_and_nothing_else() -> None:
    experiment = scan.plans(tuple(flags_of(FIRST[0], 0)))["uft"]
    halved = next(each for each in variants.variants() if each.name == variants.rates(0.5)).of(experiment)
    assert (halved.lr, halved.sft_lr) == (experiment.lr / 2, experiment.sft_lr / 2)
    assert replace(halved, lr=experiment.lr, sft_lr=experiment.sft_lr) == experiment
    sham = next(each for each in variants.variants() if each.name == variants.SHAM).of(experiment)
    assert sham == replace(experiment, hints="sham")


def test_the_page_tells_what_the_entropy_bonus_does_as_it_is_recorded() -> None:
    runs = {coef: of_lab(variants.FILE, f"entropy_coef {coef:g}")[FIRST[1]] for coef in (0.001, 0.0)}
    seeds = sorted(runs[0.0]["rft"])
    assert len(seeds) >= 4
    text = (ROOT / "docs/study.md").read_text(encoding="utf-8")
    for algo, coef in product(("rft", "uft"), runs):
        ends = [runs[coef][algo][seed][40].accuracy for seed in seeds]
        cells = [f"{fmean(runs[coef][algo][seed][step].accuracy for seed in seeds):.3f}" for step in (0, 20)]
        last = f"{fmean(ends):.3f} ({min(ends):.3f} to {max(ends):.3f})"
        row = " | ".join([f"| lab, {algo}", f"{coef:g}", str(len(seeds)), *cells, last])
        assert row.replace("0.", ".") in text


def test_only_the_study_has_parts() -> None:
    from recipes.commands.reproduce import reproduce

    with pytest.raises(ExperimentError, match="no parts"):
        reproduce("uft_table", {"part": "scan"})
    given = {"part": "scan", "algo": "uft", "data": None, "model": None, "seeds": None, "dry_run": "short"}
    with pytest.raises(ExperimentError, match="--algo"):
        reproduce("study", given)
