"""A run's folder: one owner, finished by what is on disk, never taken over, never gone on with other rows."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from recipes.commands.planned import Planned
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, read_json, write_text
from recipes.data.datafiles import locate
from recipes.run.dry_run import dry_run
from recipes.run.launch import DONE, launch
from recipes.run.place import refuse_unwritable
from recipes.run.resume import record_data
from recipes.settings.saved import to_yaml
from recipes.watch.processes import RunBusyError, hold_run
from recipes.watch.supervise import Outcome
from tests import ROOT
from tests.helpers.front_checks import EXAMPLES, contents, experiment, finished_on_disk, front_door, small_folder
from tests.helpers.stand_in import standing_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


def elsewhere(run: Path) -> subprocess.Popen[str]:
    """A process that holds a run as its supervisor does."""
    code = f"from recipes.watch.processes import *\nwith hold_run(Path({str(run)!r})):\n print(flush=True)\n input()"
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", code], text=True, cwd=ROOT, **pipes)
    assert holder.stdout
    holder.stdout.readline()
    return holder


@pytest.mark.parametrize("resume", [False, True])
def test_a_refused_command_changes_nothing_of_a_living_run(resume: bool, folder: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    owner = experiment(folder)
    write_text(run.experiment, to_yaml(owner))
    write_text(run.path / "verl.yaml", "trainer: {total_training_steps: 4}\n")
    write_text(run.path / DONE, "{}")
    before = contents(run.path)
    holder = elsewhere(run.path)
    try:
        # Longer, other data, another seed: whatever it asks for.
        for other in (experiment(folder, T=9), experiment(folder, seed=6), experiment(folder, batch_size=64)):
            with pytest.raises(RunBusyError, match=f"process {holder.pid} .* is already at work"):
                launch(other, run.path, resume=resume, stall_minutes=1)
            assert contents(run.path) == before
    finally:
        holder.communicate("\n")
    # Its owner goes on as if nothing had been.
    with hold_run(run.path):
        assert contents(run.path) == before


@pytest.mark.parametrize("place", ["file", "file/run", "circle", "circle/run"])
def test_an_out_that_cannot_be_a_folder_is_one_clear_line(place: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    out = tmp_path / place
    with pytest.raises(ExperimentError, match=f"--out {out}: "):
        launch(experiment(folder), out, resume=False, stall_minutes=1)
    assert (tmp_path / "file").read_text() == "mine"


def test_commands_side_by_side_try_their_folders_without_noticing_each_other(tmp_path: Path) -> None:
    """Each tries whether its folder can be made, also where none of the folders above it exists yet."""
    code = (
        "from recipes.run.place import refuse_unwritable\nfrom pathlib import Path\n"
        f"for _ in range(2000):\n    refuse_unwritable(Path({str(tmp_path)!r}, 'out', 'study', 'run'))"
    )
    pipes: Any = {"stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    others = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(3)]
    assert [(other.communicate()[1], other.returncode) for other in others] == [("", 0)] * 3
    assert not [*tmp_path.iterdir()]


def test_a_link_to_nowhere_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(ExperimentError, match="link: No such file or directory"):
        refuse_unwritable(tmp_path / "link")


def test_a_run_whose_last_checkpoint_is_whole_is_finished_without_a_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(_: Any, stage: Any, *__: Any) -> Outcome:
        if stage.may_fail:
            return Outcome(1, "failed", "The base is gone.", 2.0, 3)
        raise AssertionError("started")

    monkeypatch.setattr("recipes.run.launch.run_stage", started)
    run, e = RunDir(tmp_path / "run"), experiment(folder)
    finished_on_disk(run, e)
    assert launch(e, run.path, resume=True, stall_minutes=1) == 0
    assert (run.path / DONE).exists()
    assert (run.hf / "last/config.json").exists()
    assert json.loads((run.hf / "best.json").read_text()) == {"step": e.T, "val/acc": e.T / 10}
    summary = json.loads(run.summary.read_text())
    # What only measures failed: the run is finished without it, and it is tried again by the next command.
    assert summary["seconds"] == 63.5
    assert summary["peak_memory_bytes"] == 7
    # And once more: a finished run keeps its record.
    assert launch(e, run.path, resume=True, stall_minutes=1) == 0
    assert json.loads(run.summary.read_text()) == {**summary, "seconds": 65.5}
    # Extended, it goes on.
    with pytest.raises(AssertionError, match="started"):
        launch(experiment(folder, T=8), run.path, resume=True, stall_minutes=1)


def test_a_supervised_stage_is_started_again_since_something_follows_its_last_checkpoint(folder: Path) -> None:
    from recipes.data.datafiles import locate
    from recipes.run.build_stages import stages as stages_of

    e = experiment(folder, algo="sft_rft")
    found = stages_of(e, RunDir(Path("run")), locate(e, ROOT))
    assert [stage.ends_with_checkpoint for stage in found] == [False, False, True, False]


def test_a_pipeline_does_not_take_over_a_runs_folder(folder: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "run/experiment.yaml", to_yaml(experiment(folder)))
    before = contents(tmp_path)
    done = front_door(
        "--profile", "cpu", "--pipeline", "sft,rft", "--data", str(folder), "--out", str(tmp_path / "run")
    )
    assert done.returncode == 2
    assert "already holds a run" in done.stderr
    assert contents(tmp_path) == before


def test_a_run_does_not_go_on_with_other_rows(tmp_path: Path) -> None:
    """A user's file that was edited since: the trainer would meet other problems without a word."""
    data = tmp_path / "questions.jsonl"
    data.write_bytes((EXAMPLES / "questions.jsonl").read_bytes())
    run, e = RunDir(tmp_path / "run"), experiment(data)
    finished_on_disk(run, e)
    write_text(run.path / "verl.yaml", f"data: {{train_files: {ROOT}/data/questions-0a1b2c3d/train.parquet}}\n")
    before = contents(run.path)
    with pytest.raises(ExperimentError, match=r"was started with .*questions-0a1b2c3d/train\.parquet, but"):
        launch(e, run.path, resume=True, stall_minutes=1)
    assert contents(run.path) == before


def test_a_run_does_not_go_on_with_a_folder_of_data_that_was_edited(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "mine"
    shutil.copytree(folder, data)
    run, e = RunDir(tmp_path / "run"), experiment(data)
    finished_on_disk(run, e)
    record_data(run, locate(e, ROOT))
    rows = parquet.read_table(data / "train.parquet")
    parquet.write_table(rows.slice(1), data / "train.parquet")
    before = contents(run.path)
    with pytest.raises(ExperimentError, match=r"started with other rows .*mine/train\.parquet changed since"):
        launch(e, run.path, resume=True, stall_minutes=1)
    with pytest.raises(ExperimentError, match="started with other rows"):
        dry_run(e, run.path, resume=True)
    assert contents(run.path) == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("kept", ["checkpoints/global_step_4/state.pt", "hf/last/config.json", "metrics.jsonl"])
def test_records_of_nobody_knows_what_run_are_neither_deleted_nor_adopted(
    kept: str, resume: bool, folder: Path, tmp_path: Path
) -> None:
    write_text(tmp_path / "run" / kept, "somebody's")
    before = contents(tmp_path)
    e = experiment(folder)
    with pytest.raises(ExperimentError, match=rf"holds {kept.partition('/')[0]} but no experiment\.yaml"):
        launch(e, tmp_path / "run", resume=resume, stall_minutes=1)
    for own in (["--algo", "uft"], ["--pipeline", "uft,rft"]):
        flags = ["--profile", "cpu", *own, "--data", str(folder), "--out", str(tmp_path / "run"), "--dry_run"]
        done = front_door(*flags, *(["--resume"] if resume else []))
        assert (done.returncode, "but no experiment.yaml" in done.stderr) == (2, True), done.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "line", ["T:", "data: 5", "data: [1]", "schema:", "n_rollout: true", "lr: fast", "dtype: int3", "logger: 3"]
)
def test_a_damaged_experiment_is_one_clear_line(line: str, folder: Path, tmp_path: Path) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder)
    finished_on_disk(run, e)
    lines = run.experiment.read_text().splitlines()
    name = line.partition(":")[0]
    at = next(at for at, each in enumerate(lines) if each.startswith(f"{name}:"))
    end = next(end for end in range(at + 1, len(lines)) if not lines[end].startswith((" ", "-")))
    write_text(run.experiment, "\n".join([*lines[:at], line, *lines[end:]]))
    with pytest.raises(ExperimentError, match=f"experiment.yaml is damaged: {name} "):
        launch(e, run.path, resume=True, stall_minutes=1)


def test_no_run_or_sweep_settles_in_the_folder_of_a_run(folder: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    finished_on_disk(run, experiment(folder))
    before = contents(tmp_path)
    with pytest.raises(ExperimentError, match=r"is inside .*/run, which holds a run"):
        launch(experiment(folder), run.path / "eval/mine", resume=False, stall_minutes=1)
    done = front_door(
        "--profile", "cpu", "--sweep", "--algo", "rft,uft", "--data", str(folder), "--out", str(run.path), "--dry_run"
    )
    assert (done.returncode, "already holds a run" in done.stderr) == (2, True), done.stderr
    assert contents(tmp_path) == before


def test_what_is_damaged_of_a_finished_run_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder, own_texts=0)
    finished_on_disk(run, e)
    with standing_in():
        assert launch(e, run.path, resume=True, stall_minutes=1) == 0
        with run.metrics.open("a") as file:
            file.write('{"step": 4, "da')
        (run.hf / "last/config.json").write_text("{")
        capsys.readouterr()
        assert launch(e, run.path, resume=True, stall_minutes=1) == 0
    said = capsys.readouterr().out
    assert "metrics.jsonl: unreadable line(s) skipped: 3" in said
    assert "the checkpoint of step 4 is damaged (actor/huggingface/config.json has 1 of 2 bytes)" in said
    assert "is finished and is not run again" in said


def test_what_was_measured_is_measured_again_where_it_is_damaged_or_of_steps_that_are_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def made(_: Any, stage: Any, *__: Any) -> Outcome:
        begun.append(stage.folder.path.name)
        write_text(stage.folder.path / "results.json", '{"nats": 0.1, "texts": 2, "written": true}')
        return Outcome(0, "finished", "", 1.0, 1)

    monkeypatch.setattr("recipes.run.launch.run_stage", made)
    run, e = RunDir(tmp_path / "run"), experiment(folder)
    finished_on_disk(run, e)
    go = partial(launch, e, run.path, resume=True, stall_minutes=1)
    assert (go(), begun) == (0, ["own_texts"])
    assert (go(), begun) == (0, ["own_texts"])
    for damage in ("{", "[]", ""):
        (run.path / "eval/own_texts/results.json").write_text(damage)
        (run.path / "spent.json").write_text('{"seconds": "x"}')
        assert (go(), begun.pop()) == (0, "own_texts")
    (run.path / DONE).unlink()
    (run.checkpoints / f"global_step_{e.T}/complete.json").unlink()
    assert (go(), begun) == (0, ["own_texts", "run", "own_texts"])


def test_who_stops_what_only_measures_loses_nothing_of_the_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder)
    planned = Planned("it", run.path, e, {})
    codes = [1, 0]

    def stopped(_: Any, stage: Any, *__: Any) -> Outcome:
        assert "128 texts of the base, read by it and by the trained model (--own_texts 0" in stage.starting
        assert "--resume --own_texts 0 it is skipped" in stage.go_on
        assert (run.hf / "last/README.md").exists()
        assert read_json(run.summary)["last step"] == e.T
        assert planned.state == "unfinished"
        return Outcome(codes.pop(0), "interrupted", "", 1.0, 1)

    monkeypatch.setattr("recipes.run.launch.run_stage", stopped)
    finished_on_disk(run, e)
    go = partial(launch, out=run.path, resume=True, stall_minutes=1)
    assert (go(e), planned.state) == (1, "unfinished")
    assert (go(replace(e, own_texts=0)), codes) == (0, [0])  # left out
    assert (planned.state, "measuring" in read_json(run.summary)) == ("finished", False)


@pytest.mark.parametrize("left", ["", "[]", '{"train": "0a'])
def test_a_damaged_record_of_the_rows_does_not_count_as_none(left: str, folder: Path, tmp_path: Path) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder)
    finished_on_disk(run, e)
    (run.path / "data.json").write_text(left)
    before = contents(run.path)
    with pytest.raises(ExperimentError, match=r"data\.json cannot be read"):
        launch(e, run.path, resume=True, stall_minutes=1)
    assert contents(run.path) == before


def test_a_damaged_copy_of_the_rows_is_made_again(folder: Path, tmp_path: Path) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder, val_size=8, own_texts=0, demonstrations=0.5)
    with standing_in():
        assert launch(e, run.path, resume=False, stall_minutes=1) == 0
        copies = {path: path.read_bytes() for path in (run.path / "data").rglob("*.parquet")}
        assert len(copies) == 3
        for path, whole in copies.items():
            path.write_bytes(whole[: len(whole) // 2])
        assert launch(e, run.path, resume=True, stall_minutes=1) == 0
    assert {path: path.read_bytes() for path in copies} == copies


def test_a_model_that_is_nowhere_is_said_before_anything_starts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object, **__: object) -> str:
        raise FileNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", nowhere)
    e = experiment(folder, model="Qwen/Qwen2.5-0.5")
    with pytest.raises(ExperimentError, match=r"--model Qwen/Qwen2.5-0.5: not on this machine .* not available from"):
        launch(e, tmp_path / "run", resume=False, stall_minutes=1)
    assert not list((tmp_path / "run").rglob("*.yaml"))
    assert "is not on this machine" in dry_run(e, tmp_path / "run")
