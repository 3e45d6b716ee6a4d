"""Files of a run: whole or absent after a kill, trimmed on resume, and the best weights kept."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recipes.common.records import Records
from recipes.common.run_dir import (
    RunDir,
    append_metrics,
    complete_checkpoints,
    damaged_lines,
    keep_newest,
    mark_complete,
    publish,
    read_json,
    read_metrics,
    replace_metrics,
    trim_metrics,
    write_json,
    write_text,
)


def checkpoint(folder: Path, step: int, *, whole: bool = True) -> Path:
    path = folder / f"global_step_{step}"
    path.mkdir(parents=True)
    if whole:
        mark_complete(path, step)
    return path


def test_metrics_are_numbers_only_and_survive_damaged_lines(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_metrics(file, 1, {"a": np.float32(0.5), "b": float("nan"), "c": "text", "d": True, "e": 3})
    append_metrics(file, 2, {"a": 1.0})
    damaged = (
        b'{"step": 3}\n[1]\n\xff\xfe\n{"step": "4", "data": {}}\n{"step": 4, "data": {"val/acc": "x"}}\n{"step": 5, "da'
    )
    file.write_bytes(file.read_bytes() + damaged)
    rows = read_metrics(file)
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["data"] == {"a": 0.5, "e": 3}
    assert damaged_lines(file) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("value", ["9" * 400, "9" * 5000, "[" * 100_000])
def test_numbers_that_nothing_can_hold_are_damaged_lines(tmp_path: Path, value: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(f'{{"step": 1, "data": {{"a": {value}}}}}\n')
    assert (read_metrics(file), damaged_lines(file)) == ([], [1])


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file", "\udcff")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_resuming_drops_the_lines_after_the_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    for step in range(6):
        append_metrics(file, step, {"val/acc": step / 10})
    trim_metrics(file, 3)
    assert [row["step"] for row in read_metrics(file)] == [0, 1, 2, 3]


def test_a_checkpoint_without_its_mark_is_not_one(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, whole=False)
    (tmp_path / "global_step_x").mkdir()
    (tmp_path / "other").mkdir()
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [10]
    assert complete_checkpoints(tmp_path / "missing") == []


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: (path / "actor/model.pt").write_text("wei"), "actor/model.pt has 3 of 7 bytes"),
        (lambda path: (path / "actor/optimizer.pt").unlink(), "actor/optimizer.pt is missing"),
        (lambda path: (path / "complete.json").write_text(""), "complete.json cannot be read"),
        (lambda path: (path / "complete.json").write_text("[]"), "complete.json cannot be read"),
        (lambda path: write_json(path / "complete.json", {"step": 4, "sizes": None}), "complete.json cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_an_older_whole_one_taken(
    damage: Callable[[Path], object], fault: str, tmp_path: Path
) -> None:
    run = RunDir(tmp_path)
    for step in (2, 4):
        (part := run.checkpoints / f"global_step_{step}/actor").mkdir(parents=True)
        for name in ("model.pt", "optimizer.pt"):
            (part / name).write_text("weights")
        mark_complete(part.parent, step)
    assert run.tidy() == []
    damage(run.checkpoints / "global_step_4")
    assert [step for step, _ in complete_checkpoints(run.checkpoints)] == [2]
    assert run.tidy() == [f"the checkpoint of step 4 is damaged ({fault})"]
    # A kill while it is written again must not leave it whole in name.
    assert not (run.checkpoints / "global_step_4/complete.json").exists()
    assert [step for step, _ in complete_checkpoints(run.checkpoints)] == [2]


def test_a_mark_of_an_older_version_that_names_no_files_counts(tmp_path: Path) -> None:
    write_json(checkpoint(tmp_path, 10) / "complete.json", {"step": 10, "time": 0.0})
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [10]


def test_what_is_measured_again_has_one_line(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_metrics(file, 0, {"val/acc": 0.5, "x": float("nan")})
    append_metrics(file, 0, {"rewards/margin": 1.0})
    replace_metrics(file, 0, {"val/acc": 0.6, "x": float("nan")})
    assert [row["data"] for row in read_metrics(file)] == [{"rewards/margin": 1.0}, {"val/acc": 0.6}]


def test_old_and_broken_checkpoints_go_the_newest_and_one_in_the_making_stay(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        checkpoint(tmp_path, step, whole=step != 10)
    checkpoint(tmp_path, 25, whole=False)
    keep_newest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["global_step_15", "global_step_20", "global_step_25"]


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_published_weights_are_as_readable_as_their_folder(tmp_path: Path, mode: int) -> None:
    (source := tmp_path / "source").mkdir()
    (source / "model.safetensors").write_text("weights")
    (source / "model.safetensors").chmod(0o600)
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf").chmod(mode)
    publish(source, tmp_path / "hf" / "last")
    assert (tmp_path / "hf/last/model.safetensors").stat().st_mode & 0o777 == mode & 0o666


def test_publishing_replaces_a_folder_and_outlives_its_source(tmp_path: Path) -> None:
    for text in ("first", "second"):
        source = tmp_path / text
        source.mkdir()
        (source / "model.safetensors").write_text(text)
        publish(source, tmp_path / "hf" / "last")
        (source / "model.safetensors").unlink()
        assert (tmp_path / "hf/last/model.safetensors").read_text() == text
    assert [path.name for path in (tmp_path / "hf").iterdir()] == ["last"]


def test_what_was_published_of_a_damaged_checkpoint_is_published_anew(tmp_path: Path) -> None:
    """It shares the checkpoint's files: what truncated those has truncated it."""
    run = RunDir(tmp_path)
    for step, accuracy in ((2, 0.4), (4, 0.6)):
        append_metrics(run.metrics, step, {"val/acc": accuracy})
        weights = run.checkpoints / f"global_step_{step}/actor/huggingface"
        weights.mkdir(parents=True)
        (weights / "model.safetensors").write_text(f"weights {step}")
        run.checkpoint_written(weights.parents[1], weights, step, accuracy, keep=2)
    with (run.hf / "best/model.safetensors").open("r+") as file:
        file.truncate(3)
    assert run.tidy() == [
        "the checkpoint of step 4 is damaged (actor/huggingface/model.safetensors has 3 of 9 bytes)",
        "hf/best, which came from it, is chosen again",
    ]
    run.republish()
    assert [(run.hf / name / "model.safetensors").read_text() for name in ("last", "best")] == ["weights 2"] * 2
    weights = run.checkpoints / "global_step_4/actor/huggingface"
    (weights / "model.safetensors").write_text("weights 4")
    run.checkpoint_written(weights.parents[1], weights, 4, 0.4, keep=2)
    assert (run.hf / "last/model.safetensors").read_text() == "weights 4"
    assert read_json(run.hf / "best.json") == {"step": 2, "val/acc": 0.4}


def test_best_weights_are_those_of_the_best_saved_step(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step, accuracy in [(10, 0.2), (20, 0.5), (30, 0.4)]:
        source = tmp_path / str(step)
        source.mkdir()
        (source / "step").write_text(str(step))
        run.publish_weights(source, step, accuracy)
    assert (run.hf / "last/step").read_text() == "30"
    assert (run.hf / "best/step").read_text() == "20"
    assert json.loads((run.hf / "best.json").read_text()) == {"step": 20, "val/acc": 0.5}


@pytest.mark.parametrize("left", ["", '{"step": 1', "[]", "\0\0"])
def test_a_damaged_note_beside_the_weights_stops_nothing(left: str, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    weights = checkpoint(run.checkpoints, 10) / "actor/huggingface"
    weights.mkdir(parents=True)
    run.hf.mkdir()
    for name in ("last.json", "best.json"):
        (run.hf / name).write_text(left)
    append_metrics(run.metrics, 10, {"val/acc": 0.5})
    run.republish()
    assert json.loads((run.hf / "last.json").read_text()) == {"step": 10}
    assert json.loads((run.hf / "best.json").read_text()) == {"step": 10, "val/acc": 0.5}


def test_the_heartbeat_says_where_the_run_is_with_the_headline_of_this_process(tmp_path: Path) -> None:
    records = Records(tmp_path, total_steps=7)
    records.log(0, {"val/acc": 0.25, "other": 1.0})
    records.phase("rollout", 0)
    records.phase("update")
    beat = json.loads((tmp_path / "progress.json").read_text())
    assert (beat["step"], beat["total_steps"], beat["phase"], beat["metrics"]) == (
        0,
        7,
        "update",
        {"val/acc": 0.25, "val/step": 0.0},
    )
    resumed = Records(tmp_path, total_steps=7)
    resumed.resume_at(0)
    resumed.phase("starting")
    # An accuracy of before is none of the weights that are trained now.
    assert json.loads((tmp_path / "progress.json").read_text())["metrics"] == {}


def test_json_is_replaced_in_one_step(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    write_json(tmp_path / "a.json", {"x": 2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
