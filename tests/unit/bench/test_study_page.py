"""The study's page: standings, tables and pictures are a function of committed figures."""

import re
from itertools import product
from pathlib import Path
from statistics import fmean

import pytest

from bench.study import page, scan, variants
from bench.study.cells import CORE, FAMILY, FIRST, REAL, Cell
from bench.study.comparisons import agreement, beside, by_variant, paired, seeds, table, wins
from bench.study.figures import Point, Runs, committed, of_lab, of_real, ranked, worst
from bench.study.maps import curves, lab_map, real_map
from bench.study.page import drawn
from eval.reporting.cells import Table
from recipes import ROOT


def of(*ends: float) -> Runs:
    """Runs that begin at 0 and end at these, by seed."""
    return {seed: {0: Point(0.0), 40: Point(end)} for seed, end in enumerate(ends)}


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


def test_lab_and_real_loop_are_compared_where_they_had_equal_settings() -> None:
    flat, deep = Cell(6, 0.4, 0.1), Cell(20, 0.75, 0.3)
    longer: Runs = {0: {60: Point(0.0)}}
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


def test_a_methods_differences_to_all_others_stand_cell_by_cell() -> None:
    one, two = Cell(10, 0.4, 0.1), Cell(6, 0.4, 0.1)
    found = {
        one: {"uft_adaptive": of(0.8, 0.9), "uft": of(0.9, 0.9), "dft": of(0.95, 1.0), "sft": of(0.1)},
        two: {"uft_adaptive": of(0.5, 0.7), "uft": of(0.1, 0.3)},
        Cell(6, 0.4, 0.0): {"uft": of(0.5, 0.6), "rft": of(0.5), "dft": of(0.9)},
        Cell(6, 0.4, 0.3): {"sft": of(0.5), "dft": of(0.6)},
        Cell(6, 0.75, 0.3): {"sft": of(0.5)},
    }
    made = paired(found, "uft_adaptive")
    # rft has a single cell.
    assert made.head == (
        "cell (points at the end, 95 % over seeds)",
        "seeds",
        "uft",
        "sft",
        "dft",
    )  # rft has a single cell
    # By seed .4 and .4, -.1 and 0, -.15 and -.1; t with one degree of freedom is 12.706.
    assert made.rows == (
        (two.title, "2", "**+40.0 (+40.0 to +40.0)**", "", ""),
        (one.title, "2", "-5.0 (-68.5 to +58.5)", "?", "-12.5 (-44.3 to +19.3)"),
        ("all cells", "", "ahead in 1, behind in 0", "ahead in 0, behind in 0", "ahead in 0, behind in 0"),
    )


def test_how_many_seeds_the_labs_cells_have_is_counted() -> None:
    five, one = ({algo: of(*[0.5] * count) for algo in (*CORE, *FAMILY)} for count in (5, 1))
    two, some = five | {"hpt": of(0.5, 0.5)}, one | {"uft": of(0.5, 0.5)}
    found = dict(zip((Cell(depth, 0.4, 0.0) for depth in range(6)), (five, one, two, five, some, {}), strict=True))
    assert seeds(found) == (
        "In the lab 2 cells have 5 seeds of each of 14 methods; 4 have fewer, 1 of these a single seed of each."
    )


def test_text_outside_the_marks_stays_or_nothing_is_drawn() -> None:
    ours = f"mine\n{page.BEGIN}\nold\n{page.END}\nnotes\n"
    assert page.redrawn(ours, "new\n") == f"mine\n{page.BEGIN}\n\nnew\n\n{page.END}\nnotes\n"
    damaged = [ours.replace(mark, "") for mark in (page.BEGIN, page.END)]
    for text in (*damaged, ours + page.END, page.BEGIN + ours, f"{page.END}{page.BEGIN}"):
        with pytest.raises(ValueError, match="needs one line"):
            page.redrawn(text, "new")


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
    def at_20(*values: float) -> Runs:
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
