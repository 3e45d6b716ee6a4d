"""Runs of the real loop join the committed ones, unless they are damaged, of the lab, or not what their name says."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from bench.study import scan
from bench.study.cells import FIRST, REAL, Cell
from bench.study.collect import Collected, collect, listed, main
from bench.study.figures import cell_of, last, named, of_lab, of_real
from recipes.common.run_dir import read_json, write_json, write_text
from recipes.settings.saved import read_experiment
from tests.helpers.run_folders import lines, settings_of, write_run


def study_run(folder: Path, *, accuracy: float = 0.5, **changed: Any) -> Path:
    """A finished run with the settings that the study lists for its name, unless `changed`, right at the end with this
    accuracy."""
    cell, algo, seed = named(folder.parent.name, folder.name) or (FIRST[0], "uft", 0)
    settings = json.loads(json.dumps(asdict(listed()[cell, algo]))) | {"seed": seed}
    options = settings["data_options"] | {"depth": changed.pop("depth", settings["data_options"]["depth"])}
    settings |= {"data_options": options} | changed
    write_run(folder, settings, [2, 4], of=8)
    end = settings["T"]
    validated = [{"step": 0, "data": {"val/acc": 0.25}}, {"step": end, "data": {"val/acc": accuracy}}]
    (folder / "metrics.jsonl").write_text(lines(validated))
    tells = (
        {}
        if settings["algo"].endswith(".py")
        else {"experiment_hash": read_experiment(folder / "experiment.yaml").hash}
    )
    write_json(folder / "summary.json", {"last step": end, "val/acc last": accuracy} | tells)
    write_json(folder / "done.json", {})
    return folder


@pytest.mark.parametrize(
    ("sweep", "cell"),
    [
        ("d20-q75-n1", Cell(20, 0.75, 0.1)),
        ("my runs-d20-q75-n1", Cell(20, 0.75, 0.1)),
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
    unfinished = ["rft-chain-tiny-chain-q40-d15-n1-s0"]
    write_run(sweep / unfinished[0], settings_of("rft"), [2, 4], finished=False)
    for _ in range(2):
        assert collect([sweep], file) == Collected(1, ["uft-chain-tiny-chain-q75-d20-n3-nolikelihood-s0"], unfinished)
        assert file.read_text().splitlines() == [
            "sweep,run,step,val/acc,val/greedy",
            "family15,uft-chain-s0,0,0.1,",
            "study,old,0,0.5,",
            "study,uft-chain-tiny-chain-q40-d15-n1r-s3,0,0.25,",
            "study,uft-chain-tiny-chain-q40-d15-n1r-s3,80,0.5,",
        ]
    own = tmp_path / "own.csv"
    assert collect([sweep], own, of_cells=False) == Collected(2, [], unfinished)
    assert len(own.read_text().splitlines()) == 5
    before = file.read_bytes()
    write_json(write_run(sweep / "uft-countdown-s0", settings_of("uft"), [2, 4]) / "done.json", {})
    with pytest.raises(ValueError, match="no run on chains"):
        collect([sweep], file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ("", "not the end of the run"),
        ('{"step": 0, "data": {"val/acc": 0.5}}\n', "not the end of the run"),
        ('{"step": 80, "data": {"val/acc": 0.75}}\n', "not the end of the run"),
        ('{"step": 0, "data": {"val/acc": 0.5}}\n{"step": 80, "da', "line 2 is damaged"),
        ('{"step": 80, "data": {"val/acc": "half"}}\n', "line 1 is damaged"),
        (
            '{"step": 20, "data": {"val/acc": 7.5}}\n{"step": 80, "data": {"val/acc": 0.5}}\n',
            "step 20, val/acc 7.5: steps are",
        ),
        (
            '{"step": 80, "data": {"val/acc": 0.5, "val/greedy": 77}}\n',
            "step 80, val/acc 0.5, val/greedy 77: steps are",
        ),
        (
            '{"step": -5, "data": {"val/acc": 0.5}}\n{"step": 80, "data": {"val/acc": 0.5}}\n',
            "step -5, val/acc 0.5: steps are",
        ),
    ],
)
def test_a_damaged_run_takes_no_figure_out_of_the_file(tmp_path: Path, metrics: str, why: str) -> None:
    file, name = tmp_path / "validations.csv", "uft-chain-tiny-chain-q40-d15-n1-s3"
    folder = study_run(tmp_path / "study" / name)
    assert collect([folder.parent], file) == Collected(1, [], [])
    before = file.read_bytes()
    (folder / "metrics.jsonl").write_text(metrics)
    with pytest.raises(ValueError, match=why):
        collect([folder.parent], file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sweep,run,step,val/acc,val/greedy\n<<<<<<< ours\n", "line 2 is damaged"),
        ("sweep,run,step,val/acc,val/greedy\nstudy,old,0,half,\n", "line 2 is damaged"),
        ('sweep,run,step,val/acc,val/greedy\nstudy,old,0,"0.5,\nstudy,old,9,0.5,\n', "is damaged: unexpected end"),
        (f"sweep,run,step,val/acc,val/greedy\nstudy,old,{'9' * 5000},0.5,\n", "line 2 is damaged"),
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
    assert collect([folder.parent], tmp_path / "own.csv", of_cells=False) == Collected(1, [], [])


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


def test_a_run_that_is_not_finished_is_skipped_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that measures its own texts has a summary already, and one that goes on to a later step."""
    sweep, file = tmp_path / "again-d15-q40-n1", tmp_path / "own.csv"
    for seed in range(3):
        study_run(sweep / f"uft-chain-s{seed}", accuracy=0.5 + seed / 10)
    (sweep / "uft-chain-s1/done.json").unlink()
    summary = read_json(sweep / "uft-chain-s2/summary.json")
    write_json(sweep / "uft-chain-s2/summary.json", summary | {"measuring": "its own texts"})
    assert main([str(sweep), "--file", str(file)]) == 0
    assert file.read_text().count("uft-chain-s") == file.read_text().count("uft-chain-s0") == 2
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [f"skipped, not finished: uft-chain-s{seed}" for seed in (1, 2)]


def test_a_summary_of_an_older_version_does_not_have_the_last_step(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    summary = read_json(folder / "summary.json")
    del summary["last step"]
    write_json(folder / "summary.json", summary)
    assert collect([folder.parent], tmp_path / "validations.csv") == Collected(1, [], [])
    (folder / "metrics.jsonl").write_text(lines([{"step": 20, "data": {"val/acc": 0.5}}]))
    with pytest.raises(ValueError, match=r"metrics\.jsonl: its last validation is of step 20, its run has 80"):
        collect([folder.parent], tmp_path / "validations.csv")


def test_a_run_whose_summary_is_another_runs_is_refused(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    other = study_run(tmp_path / "more-d15-q40-n1/uft-chain-s1")
    (other / "summary.json").rename(folder / "summary.json")
    with pytest.raises(ValueError, match=r"summary\.json is of a run with other settings"):
        collect([folder.parent], tmp_path / "validations.csv")


def test_what_lies_in_the_folder_of_the_study_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    (tmp_path / "out").write_text("a file where the folder of runs would be")
    monkeypatch.setattr("recipes.commands.sweep.ROOT", tmp_path)
    listed.cache_clear()
    assert collect([folder.parent], tmp_path / "validations.csv") == Collected(1, [], [])


@pytest.mark.parametrize("changed", [{"own_texts": 64}, {"test_freq": 40}, {"save_freq": 40}, {"logger": ["console"]}])
def test_what_changes_no_figure_may_differ(tmp_path: Path, changed: dict[str, Any]) -> None:
    study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0", **changed)
    assert collect([tmp_path / "again-d15-q40-n1"], tmp_path / "validations.csv") == Collected(1, [], [])


@pytest.mark.parametrize("sweep", ["a\nb-d15-q40-n1", "a,b-d15-q40-n1", "d\u0661\u0665-q40-n1"])
def test_the_name_of_a_sweep_is_a_line_without_commas(sweep: str) -> None:
    with pytest.raises(ValueError, match="its name says no cell"):
        cell_of(sweep)


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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0", lr=1e-3)
    monkeypatch.setattr("bench.study.collect.REAL_FILE", tmp_path / "validations.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "validations.csv")
    for file in (os.path.relpath(tmp_path / "validations.csv"), str(tmp_path / "link.csv")):
        with pytest.raises(SystemExit):
            main([str(folder.parent), "--file", file])
        assert "--lr 0.001" in capsys.readouterr().err
        assert not (tmp_path / "validations.csv").exists()
    (tmp_path / "linked-d15-q40-n1").symlink_to(folder.parent)
    assert main([str(tmp_path / "linked-d15-q40-n1"), "--file", str(tmp_path / "own.csv")]) == 0
    assert "linked-d15-q40-n1,uft-chain-s0,80,0.5," in (tmp_path / "own.csv").read_text()


def test_a_run_that_sees_no_solution_is_of_every_cell_that_differs_in_them(tmp_path: Path) -> None:
    for noise in ("n1", "n1r"):
        study_run(tmp_path / f"again-d15-q40-{noise}/rft-chain-s0", accuracy=0.5 if noise == "n1" else 0.75)
    assert collect([*tmp_path.iterdir()], tmp_path / "validations.csv") == Collected(2, [], [])
    both = of_real(tmp_path / "validations.csv")
    assert [last(both[cell_of(f"d15-q40-{noise}")]["rft"]) for noise in ("n1", "n1r")] == [{0: 0.625}] * 2
    # Equal where both were validated: answers of one model, counted once.
    study_run(tmp_path / "once-d15-q40-n3/rft-chain-s0", accuracy=0.75)
    study_run(tmp_path / "more-d15-q40-n3/rft-chain-s0", accuracy=0.75)
    with (tmp_path / "more-d15-q40-n3/rft-chain-s0/metrics.jsonl").open("a") as metrics:
        metrics.write(lines([{"step": 40, "data": {"val/acc": 0.5}}]))
    assert collect([*tmp_path.glob("*-n3")], tmp_path / "validations.csv") == Collected(2, [], [])
    again = of_real(tmp_path / "validations.csv")[cell_of("d15-q40-n1r")]["rft"]
    assert {step: point.accuracy for step, point in again[0].items()} == {0: 0.25, 40: 0.5, 80: 0.625}


def test_a_run_that_the_study_does_not_list_is_refused(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    folder.parent.rename(tmp_path / "again-d9-q40-n1")
    with pytest.raises(ValueError, match="lists no uft at depth 9"):
        collect([tmp_path / "again-d9-q40-n1"], tmp_path / "validations.csv")


def test_runs_of_the_lab_do_not_join_those_of_the_real_loop(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    (folder / "summary.json").write_text('{"lab": true, "last step": 80}')
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
    with pytest.raises(ValueError, match="no run in it; give the folder of a sweep"):
        collect([tmp_path], tmp_path / "validations.csv")
    assert not (tmp_path / "validations.csv").exists()


def test_a_folder_whose_runs_have_all_more_to_come_is_refused_by_their_names(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    (folder / "done.json").unlink()
    with pytest.raises(ValueError, match="none of 1 run is finished: uft-chain-s0"):
        collect([folder.parent], tmp_path / "validations.csv")


def test_a_run_without_its_settings_is_refused_by_the_study(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "again-d15-q40-n1/uft-chain-s0")
    (folder / "experiment.yaml").unlink()
    with pytest.raises(ValueError, match=r"uft-chain-s0: .*experiment\.yaml"):
        collect([folder.parent], tmp_path / "validations.csv")


def test_two_that_collect_at_once_lose_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other reads the file while this one writes it."""
    sweeps, file = [tmp_path / f"{name}-d15-q40-n1" for name in ("again", "more")], tmp_path / "validations.csv"
    for sweep, accuracy in zip(sweeps, (0.5, 0.75), strict=True):
        study_run(sweep / "uft-chain-s0", accuracy=accuracy)
    other = Thread(target=collect, args=([sweeps[1]], file))

    def write(path: Path, text: str) -> None:
        if not other.ident:
            other.start()
            other.join(1)
            assert other.is_alive()
        write_text(path, text)

    monkeypatch.setattr("bench.study.collect.write_text", write)
    collect([sweeps[0]], file)
    other.join()
    assert len(file.read_text().splitlines()) == 5


def test_the_name_of_a_real_run_says_its_cell() -> None:
    assert named("study", "uft_adaptive-chain-tiny-chain-q40-d15-n1r-s3") == (
        *(Cell(15, 0.4, 0.1, repeated=True), "uft_adaptive", 3),
    )
    assert named("family34-d15-q40-n1r", "r3-chain-s4") == (Cell(15, 0.4, 0.1, repeated=True), "r3", 4)
    assert named("study", "rft-chain-tiny-chain-q40-d10-n1-entropy0-s0") is None
    assert named("nolikelihood34-20q75n30", "uft-chain-s3") is None
