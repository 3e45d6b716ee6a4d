"""What people meet in their first hour: their own small data, odd machines, a second command in a run's folder."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import run as run_py
from data_prep import countdown
from eval.models import find_model
from recipes import stages
from recipes.experiment import Experiment, ExperimentError, to_yaml
from recipes.front import plan_training
from recipes.launch import DONE, SPENT, launch
from recipes.machine import visible_devices
from recipes.profiles import PROFILES
from recipes.resolve import build_experiment
from recipes.run_dir import RunDir, mark_complete, write_json, write_text
from recipes.stages import LONGEST_TMPDIR, short_folder
from recipes.verl_plugin.environment import environment
from recipes.watch.processes import RunBusyError, hold_run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/custom"


def front_door(*flags: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **env})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data") / "countdown"
    countdown.prepare(data, n_train=40, n_test=16, seed=0)
    return data


def experiment(folder: Path, **flags: Any) -> Experiment:
    return build_experiment(
        {"data": str(folder), "batch_size": 8, "T": 4, "T_hint": 2, "test_freq": 2, **flags}, PROFILES["cpu"]
    )


# --- own data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        (("--algo", "uft", "--data", "examples/custom/questions.jsonl"), "10 rows"),
        (("--algo", "sft", "--data", "examples/custom/questions.jsonl"), "10 rows"),
        (("--algo", "dpo", "--data", "examples/custom/preferences.jsonl"), "27 rows of answers"),
        (("--algo", "una", "--data", "examples/custom/preferences.jsonl"), "27 rows of answers"),
    ],
)
def test_the_examples_train_with_the_readmes_command(flags: tuple[str, ...], rows: str) -> None:
    """The batch follows the rows, and --dry_run speaks of those there are."""
    done = front_door("--profile", "cpu", *flags, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "fewer than the usual 32" in done.stdout
    assert rows in done.stdout
    assert "0 rows" not in done.stdout.replace("10 rows", "")


def test_a_batch_that_was_asked_for_stays_and_the_refusal_names_one_that_works(tmp_path: Path) -> None:
    flags = ("--profile", "cpu", "--data", "examples/custom/questions.jsonl", "--batch_size", "32")
    for also in ((), ("--dry_run",)):
        done = front_door(*flags, "--out", str(tmp_path / "run"), *also)
        assert done.returncode == 2
        assert "has 10 rows, fewer than --batch_size 32" in done.stderr
        assert "use --batch_size 10 or less" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_the_batch_can_be_shared_by_the_devices(ranks: int) -> None:
    flags = ("--profile", "h100x8", "--model", "Qwen/Qwen2.5-0.5B", "--n_gpu", str(ranks), "--dry_run")
    given = vars(run_py.parser().parse_args([*flags, "--data", str(EXAMPLES / "questions.jsonl")]))
    for mode in ("visible_devices", "eval", "sweep", "reproduce", "pipeline"):
        given.pop(mode)
    planned = plan_training(given)[1]
    assert planned.batch_size == 10 // ranks * ranks
    assert planned.mini_batch_size * planned.n_rollout % ranks == 0


def test_the_scale_of_scores_is_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}", "score": 1 + n % 10} for n in range(30)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--profile", "cpu", "--algo", "una", "--data", str(file), "--dry_run")
    asked = front_door(*flags)
    assert asked.returncode == 2
    assert "--score-min and --score-max" in asked.stderr
    told = front_door(*flags, "--score-min", "1", "--score_max", "10")
    assert told.returncode == 0, told.stderr


# --- odd machines ----------------------------------------------------------------------------------------------------


def test_the_default_run_needs_no_working_folder(tmp_path: Path) -> None:
    done = front_door("--profile", "cpu", "--algo", "uft", "--data", "countdown", "--dry_run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "models/tiny-countdown") in done.stdout
    assert find_model("models/tiny-countdown") == "models/tiny-countdown"  # from here


def test_a_folder_of_the_users_goes_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("models/tiny-countdown") == str(ROOT / "models/tiny-countdown")
    (tmp_path / "models/tiny-countdown").mkdir(parents=True)
    assert find_model("models/tiny-countdown") == "models/tiny-countdown"
    assert find_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("n_gpu", [1, 2])
def test_on_the_cpu_ray_is_given_names_of_devices_that_are_none(n_gpu: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray refuses to count more devices than CUDA_VISIBLE_DEVICES names; empty is the usual way to force the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    env = environment(build_experiment({"n_gpu": n_gpu}, PROFILES["cpu"]), RunDir(Path("run")))
    assert env["CUDA_VISIBLE_DEVICES"] == ",".join(["-1"] * n_gpu)
    assert "CUDA_VISIBLE_DEVICES" not in environment(
        build_experiment({"n_gpu": n_gpu}, PROFILES["h100x2"]), RunDir(Path("run"))
    )


@pytest.mark.parametrize(
    ("variable", "gpus", "found"),
    [
        ("0", 0, []),
        ("NoDevFiles", 0, []),
        ("", 2, []),
        ("-1", 2, []),
        ("1", 2, ["1"]),
        ("0,1", 2, ["0", "1"]),
        ("GPU-0a1b,GPU-2c3d", 2, ["GPU-0a1b", "GPU-2c3d"]),
        # CUDA itself shows nothing behind the first it does not know, and nothing at all of one named twice.
        ("0,-1,1", 2, ["0"]),
        ("0,0", 2, []),
        ("0,7", 2, ["0"]),
        (None, 2, ["0", "1"]),
    ],
)
def test_devices_are_those_that_cuda_shows(
    variable: str | None, gpus: int, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = "\\n".join(f"GPU {number}: H100 (UUID: GPU-{name})" for number, name in enumerate(["0a1b", "2c3d"][:gpus]))
    if gpus:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{listed}\\n'\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr("recipes.machine.DEVICES", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if variable is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_devices() == found


def test_a_driver_without_its_tools_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr("recipes.machine.DEVICES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_devices() == ["1"]


@pytest.mark.parametrize("length", [20, 30, 31, 62, 200])
def test_the_folder_of_rays_sockets_is_short_whatever_tmpdir_is(
    length: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = "/tmp/" + "x" * (length - 5)
    monkeypatch.setattr(tempfile, "tempdir", named)
    os.makedirs(named, exist_ok=True)
    try:
        made = short_folder()
        assert len(f"{made}/session_2026-11-25_23-13-41_927630_4194304/sockets/plasma_store") <= 107
        assert (made.parent == Path(named)) == (length <= LONGEST_TMPDIR)
        assert made.stat().st_mode & 0o777 == 0o700
        made.rmdir()
    finally:
        os.rmdir(named)


def test_no_short_folder_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ExperimentError, match="set TMPDIR to one"):
        short_folder()


# --- a run and its folder --------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != "run.lock")
    return {str(file): file.read_bytes() for file in files}


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


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_an_out_that_cannot_be_a_folder_is_one_clear_line(place: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" if place == "a file" else tmp_path / "file/run"
    with pytest.raises(ExperimentError, match=f"--out {out}: "):
        launch(experiment(folder), out, resume=False, stall_minutes=1)
    assert (tmp_path / "file").read_text() == "mine"


def finished_on_disk(run: RunDir, e: Experiment) -> None:
    """As a kill leaves it between the last checkpoint and done.json: weights whole, nothing published."""
    checkpoint = run.checkpoints / f"global_step_{e.T}"
    weights = checkpoint / "actor/huggingface"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    mark_complete(checkpoint, e.T)
    lines = [{"step": step, "time": 0.0, "data": {"val/acc": step / 10}} for step in (0, e.T)]
    write_text(run.metrics, "".join(json.dumps(line) + "\n" for line in lines))
    write_text(run.experiment, to_yaml(e))
    write_json(run.path / SPENT, {"seconds": 61.5, "peak_memory_bytes": 7})


def test_a_run_whose_last_checkpoint_is_whole_is_finished_without_a_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("started")

    monkeypatch.setattr("recipes.launch.run_stage", started)
    run, e = RunDir(tmp_path / "run"), experiment(folder)
    finished_on_disk(run, e)
    assert launch(e, run.path, resume=True, stall_minutes=1) == 0
    assert (run.path / DONE).exists()
    assert (run.hf / "last/config.json").exists()
    assert json.loads((run.hf / "best.json").read_text()) == {"step": e.T, "val/acc": e.T / 10}
    summary = json.loads(run.summary.read_text())
    assert summary["seconds"] == 61.5
    assert summary["peak_memory_bytes"] == 7
    # And once more: a finished run keeps its record.
    assert launch(e, run.path, resume=True, stall_minutes=1) == 0
    assert json.loads(run.summary.read_text()) == summary
    # Extended, it goes on.
    with pytest.raises(AssertionError, match="started"):
        launch(experiment(folder, T=8), run.path, resume=True, stall_minutes=1)


def test_a_supervised_stage_is_started_again_since_something_follows_its_last_checkpoint(folder: Path) -> None:
    from recipes.course import stages as stages_of
    from recipes.datafiles import locate

    e = experiment(folder, algo="sft_rft")
    found = stages_of(e, RunDir(Path("run")), locate(e, ROOT))
    assert [stage.ends_with_checkpoint for stage in found] == [False, False, True]


def test_where_a_stage_starts_ray_the_long_tmpdir_is_replaced_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def supervised(command: list[str], env: dict[str, str], run_dir: Path, **_: Any) -> None:
        seen.update(env)

    monkeypatch.setattr(stages, "supervise", supervised)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert len(str(tmp_path)) > LONGEST_TMPDIR
    stage = stages.Stage("a stage", RunDir(tmp_path / "run"), [], 1, "", lambda _: None)
    stages.run_stage(experiment(folder), stage, 1)
    assert len(seen["TMPDIR"]) <= LONGEST_TMPDIR + 13
    assert not Path(seen["TMPDIR"]).exists()


def test_the_split_of_a_file_is_the_same_for_all_seeds_and_for_an_evaluation(tmp_path: Path) -> None:
    """With a split of each seed's own, an evaluation of a run would ask what the run was trained on."""
    from recipes.datafiles import locate

    places = {locate(experiment(EXAMPLES / "questions.jsonl", seed=seed), tmp_path).test for seed in range(3)}
    assert len(places) == 1


def test_an_evaluation_knows_the_data_by_its_place_however_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from recipes.experiment import training_record
    from recipes.front import _as_trained

    record = training_record(experiment(EXAMPLES / "questions.jsonl", max_response_length=33))
    monkeypatch.chdir(EXAMPLES)
    nothing = dict.fromkeys(("prompt_style", "max_prompt_length", "max_response_length"))
    assert _as_trained(record, {**nothing, "data": "questions.jsonl"})["max_response_length"] == 33
    assert "max_response_length" not in _as_trained(record, {**nothing, "data": "countdown"})
    given = {**nothing, "data": "questions.jsonl", "max_response_length": 7}
    assert "max_response_length" not in _as_trained(record, given)


def test_a_dry_run_refuses_what_the_start_refuses(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_text(tmp_path / "run/experiment.yaml", to_yaml(experiment(folder)))
    flags = ("--profile", "cpu", "--data", str(folder), "--dry_run")
    for more, named in (
        (("--out", str(tmp_path / "run")), "already holds a run; add --resume"),
        (("--reward", f"{EXAMPLES / 'reward.py'}:rewrad"), "has no function 'rewrad'"),
    ):
        done = front_door(*flags, *more)
        assert done.returncode == 2
        assert named in done.stderr
        assert done.stderr.strip().count("\n") == 0


def test_a_local_copy_of_a_tasks_data_is_read_by_a_dry_run(tmp_path: Path) -> None:
    for split, count in (("train", 40), ("test", 70)):
        rows = [
            {"problem": f"{split} {n}?", "solution": f"So \\boxed{{{n}}}.", "level": "Level 3", "type": "Algebra"}
            for n in range(count)
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = front_door("--profile", "cpu", "--data", "math", "--data_path", str(tmp_path), "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "passes over 40 rows; validation on 64 rows" in done.stdout


def test_a_pipeline_does_not_take_over_a_runs_folder(folder: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "run/experiment.yaml", to_yaml(experiment(folder)))
    before = contents(tmp_path)
    done = front_door(
        "--profile", "cpu", "--pipeline", "sft,rft", "--data", str(folder), "--out", str(tmp_path / "run")
    )
    assert done.returncode == 2
    assert "already holds a run of its own" in done.stderr
    assert contents(tmp_path) == before


def test_a_run_does_not_go_on_with_other_rows(tmp_path: Path) -> None:
    """A user's file that was edited since: the trainer would meet other problems without a word."""
    data = tmp_path / "questions.jsonl"
    data.write_bytes((EXAMPLES / "questions.jsonl").read_bytes())
    run, e = RunDir(tmp_path / "run"), experiment(data)
    finished_on_disk(run, e)
    write_text(run.path / "verl.yaml", f"data: {{train_files: {ROOT}/data/questions-0a1b2c3d/train.parquet}}\n")
    before = contents(run.path)
    with pytest.raises(ExperimentError, match=r"was started on .*questions-0a1b2c3d/train\.parquet, now"):
        launch(e, run.path, resume=True, stall_minutes=1)
    assert contents(run.path) == before
