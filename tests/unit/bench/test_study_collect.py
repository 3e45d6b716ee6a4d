"""Runs of the real loop join the committed ones, unless they are damaged, of the lab, or not what their name says."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.study import scan
from bench.study.cells import FIRST, REAL, Cell
from bench.study.collect import collect, listed, main
from bench.study.figures import REAL_FILE, cell_of, named, of_lab, of_real
from tests.helpers.run_folders import lines, settings_of, write_run


def study_run(folder: Path, *, accuracy: float = 0.5, **changed: Any) -> Path:
    """A finished run with the settings that the study lists for its name, unless `changed`, right at the end with this
    accuracy."""
    cell, algo, seed = named(folder.parent.name, folder.name) or (FIRST[0], "uft", 0)
    settings = json.loads(json.dumps(asdict(listed()[cell, algo]))) | {"seed": seed}
    options = settings["data_options"] | {"depth": changed.pop("depth", settings["data_options"]["depth"])}
    settings |= {"data_options": options} | changed
    write_run(folder, settings, [2, 4], of=8)
    ends = [{"step": 0, "data": {"val/acc": 0.25}}, {"step": settings["T"], "data": {"val/acc": accuracy}}]
    (folder / "metrics.jsonl").write_text(lines(ends))
    return folder


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


@pytest.mark.parametrize("sweep", ["smoke", "lr_T100", "my_run15", "exp30", "x10"])
def test_a_sweep_whose_name_says_no_cell_is_refused(sweep: str) -> None:
    with pytest.raises(ValueError, match=f"{sweep}: its name says no cell"):
        cell_of(sweep)


def test_finished_runs_join_the_committed_ones(tmp_path: Path) -> None:
    file = tmp_path / "validations.csv"
    file.write_text("sweep,run,step,val/acc,val/greedy\nfamily15,uft-chain-s0,0,0.1,\nstudy,old,0,0.5,\n")
    sweep = tmp_path / "study"
    study_run(sweep / "uft-chain-tiny-chain-q40-d15-n1r-s3")
    study_run(sweep / "uft-chain-tiny-chain-q75-d20-n3-nolikelihood-s0", accuracy=0.75)
    write_run(sweep / "rft-chain-tiny-chain-q40-d15-n1-s0", settings_of("rft"), [2, 4], finished=False)
    for _ in range(2):
        assert collect([sweep], file) == (1, ["uft-chain-tiny-chain-q75-d20-n3-nolikelihood-s0"])
        assert file.read_text().splitlines() == [
            "sweep,run,step,val/acc,val/greedy",
            "family15,uft-chain-s0,0,0.1,",
            "study,old,0,0.5,",
            "study,uft-chain-tiny-chain-q40-d15-n1r-s3,0,0.25,",
            "study,uft-chain-tiny-chain-q40-d15-n1r-s3,80,0.5,",
        ]
    own = tmp_path / "own.csv"
    assert collect([sweep], own, of_cells=False) == (2, [])
    assert len(own.read_text().splitlines()) == 5
    before = file.read_bytes()
    write_run(sweep / "uft-countdown-s0", settings_of("uft"), [2, 4])
    with pytest.raises(ValueError, match="no run on chains"):
        collect([sweep], file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ("", "not the end of the run"),
        ('{"step": 0, "data": {"val/acc": 0.5}}\n', "not the end of the run, step 80"),
        ('{"step": 0, "data": {"val/acc": 0.5}}\n{"step": 80, "da', "line 2 is damaged"),
        ('{"step": 80, "data": {"val/acc": "half"}}\n', "line 1 is damaged"),
        ('{"step": 80, "data": {"val/acc": 7.5}}\n', "val/acc 7.5 is no share"),
        ('{"step": 80, "data": {"val/acc": 0.5, "val/greedy": 77}}\n', "val/greedy 77 is no share"),
        ('{"step": -5, "data": {"val/acc": 0.5}}\n{"step": 80, "data": {"val/acc": 0.5}}\n', "step -5 is no step"),
    ],
)
def test_a_damaged_run_takes_no_figure_out_of_the_file(tmp_path: Path, metrics: str, why: str) -> None:
    file, name = tmp_path / "validations.csv", "uft-chain-tiny-chain-q40-d15-n1-s3"
    folder = study_run(tmp_path / "study" / name)
    (folder / "summary.json").write_text('{"last step": 80}')
    assert collect([folder.parent], file) == (1, [])
    before = file.read_bytes()
    (folder / "metrics.jsonl").write_text(metrics)
    with pytest.raises(ValueError, match=why):
        collect([folder.parent], file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sweep,run,step,val/acc,val/greedy\n<<<<<<< ours\n", "line 2 is damaged"),
        ("a line of prose\n", "line 1 is not sweep,run"),
        ("a,b,c,d,e\n1,2,3,4,5\n", "line 1 is not sweep,run"),
    ],
)
@pytest.mark.parametrize("of_cells", [True, False])
def test_a_file_that_is_damaged_or_another_is_not_written_over(
    tmp_path: Path, text: str, why: str, of_cells: bool
) -> None:
    file = tmp_path / "validations.csv"
    file.write_text(text)
    study_run(tmp_path / "study/uft-chain-tiny-chain-q40-d15-n1-s3")
    with pytest.raises(ValueError, match=why):
        collect([tmp_path / "study"], file, of_cells=of_cells)
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"depth": 10}, "--depth 10, where the study has 15 (depth 15, q 0.4, 10% wrong)"),
        ({"model": "models/tiny-chain-q75"}, "--model models/tiny-chain-q75, "),
        ({"demonstration_noise": 0.3}, "--demonstration_noise 0.3, "),
        ({"demonstration_errors": "repeated"}, "--demonstration_errors repeated, "),
        ({"demonstrations": 0.5}, "--demonstrations 0.5, "),
        ({"lr": 1e-3}, "--lr 0.001, "),
        ({"hints": "sham"}, "--hints sham, "),
        ({"T": 200}, "--T 200, "),
        ({"T_hint": 1}, "--T_hint 1, "),
        ({"entropy_coef": 0.05}, "--entropy_coef 0.05, "),
        ({"sft_loss_coef": 0.0}, "--sft_loss_coef 0.0, "),
        ({"seed": 7}, "--seed 7, "),
        ({"algo": "r3"}, "--algo r3, "),
    ],
)
def test_a_run_whose_settings_are_not_its_cells_is_refused(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0", **changed)
    with pytest.raises(ValueError, match=re.escape(why)):
        collect([folder.parent], tmp_path / "validations.csv")
    assert not (tmp_path / "validations.csv").exists()
    assert collect([folder.parent], tmp_path / "own.csv", of_cells=False) == (1, [])


def test_settings_of_the_run_do_not_hide_behind_the_datas(tmp_path: Path) -> None:
    """An option of the data that is called like a setting is no word about the setting."""
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0", lr=1e-3)
    settings = yaml.safe_load((folder / "experiment.yaml").read_text())
    settings["data_options"]["lr"] = listed()[FIRST[0], "uft"].lr
    (folder / "experiment.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"--lr 0\.001, where the study has"):
        collect([folder.parent], tmp_path / "validations.csv")


def test_a_file_of_an_algorithm_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0", algo=str(tmp_path / "mine.py"))
    with pytest.raises(ValueError, match=r"--algo .*mine\.py, where the study has uft"):
        collect([folder.parent], tmp_path / "validations.csv")
    assert not (tmp_path / "ran").exists()


def test_a_run_that_was_stopped_early_is_refused(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    (folder / "metrics.jsonl").write_text(lines([{"step": 40, "data": {"val/acc": 0.5}}]))
    with pytest.raises(ValueError, match="ended at step 40 of 80"):
        collect([folder.parent], tmp_path / "validations.csv")


def test_a_copy_of_a_run_is_refused(tmp_path: Path) -> None:
    for sweep in ("again", "more"):
        study_run(tmp_path / f"{sweep}-d15-q40-n1/uft-chain-s0")
    with pytest.raises(ValueError, match=r"more-d15-q40-n1/uft-chain-s0: is a copy of .*again"):
        collect([*tmp_path.iterdir()], tmp_path / "validations.csv")


@pytest.mark.parametrize("name", ["uft-chain-s03", "uft-chain-s3\n", "uft-chain-s"])
def test_a_seed_has_one_spelling(name: str) -> None:
    with pytest.raises(ValueError, match="no run on chains"):
        named("again-d15-q40-n1", name)


def test_the_settings_of_runs_for_the_studys_file_are_compared_however_it_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, before = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0", lr=1e-3), REAL_FILE.read_bytes()
    with pytest.raises(SystemExit):
        main([str(folder.parent), "--file", os.path.relpath(REAL_FILE)])
    assert "--lr 0.001" in capsys.readouterr().err
    assert REAL_FILE.read_bytes() == before
    (tmp_path / "linked-d15-q40-n1").symlink_to(folder.parent)
    assert main([str(tmp_path / "linked-d15-q40-n1"), "--file", str(tmp_path / "own.csv")]) == 0
    assert "linked-d15-q40-n1,uft-chain-s0,80,0.5," in (tmp_path / "own.csv").read_text()


def test_the_solutions_of_a_run_that_sees_none_do_not_matter(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1r/rft-chain-s0", demonstration_noise=0.0)
    assert collect([folder.parent], tmp_path / "validations.csv") == (1, [])


def test_a_run_that_the_study_does_not_list_is_refused(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    folder.parent.rename(tmp_path / "again-d9-q40-n1")
    with pytest.raises(ValueError, match="lists no uft at depth 9"):
        collect([tmp_path / "again-d9-q40-n1"], tmp_path / "validations.csv")


def test_runs_of_the_lab_do_not_join_those_of_the_real_loop(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    (folder / "summary.json").write_text('{"lab": true, "last step": 5}')
    with pytest.raises(ValueError, match="is a run of the lab"):
        collect([folder.parent], tmp_path / "validations.csv")
    (folder / "summary.json").write_text("[]")
    with pytest.raises(ValueError, match="is damaged"):
        collect([folder.parent], tmp_path / "validations.csv")


def test_a_damaged_line_of_the_figures_is_named(tmp_path: Path) -> None:
    real, lab = tmp_path / "validations.csv", tmp_path / "scan.csv"
    real.write_text("sweep,run,step,val/acc,val/greedy\nfamily15,uft-chain-s0,80,half,\n")
    with pytest.raises(ValueError, match=r"validations.csv: line 2: .*half"):
        of_real(real)
    lab.write_text(f"{','.join(scan.HEAD)}\n10,0.4,0.1,1.0,uft,0,40,0.5,1.0,7,9,3.2\n10,0.4,0.1\n")
    for read in (of_lab, scan.made):
        with pytest.raises(ValueError, match=r"scan.csv: line 3: "):
            read(lab)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no finished run in it"):
        collect([tmp_path], tmp_path / "validations.csv")
    assert not (tmp_path / "validations.csv").exists()


def test_the_name_of_a_real_run_says_its_cell() -> None:
    assert named("study", "uft_adaptive-chain-tiny-chain-q40-d15-n1r-s3") == (
        *(Cell(15, 0.4, 0.1, repeated=True), "uft_adaptive", 3),
    )
    assert named("family34-d15-q40-n1r", "r3-chain-s4") == (Cell(15, 0.4, 0.1, repeated=True), "r3", 4)
    assert named("study", "rft-chain-tiny-chain-q40-d10-n1-entropy0-s0") is None
    assert named("nolikelihood34-20q75n30", "uft-chain-s3") is None
