"""The temporary folder of a command: short names for sockets, caches, and nothing left behind."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir
from recipes.run import run_stage
from recipes.watch.processes import marked_environment
from recipes.watch.scratch import LONGEST_TMPDIR, caches, data_folder, short_folder
from tests.helpers.front_checks import experiment, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


@pytest.mark.parametrize("length", [20, 30, 31, 62, 200])
def test_the_folder_of_rays_sockets_is_short_whatever_tmpdir_is(
    length: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = "/tmp/" + "x" * (length - 5)
    monkeypatch.setattr(tempfile, "tempdir", named)
    os.makedirs(named, exist_ok=True)
    try:
        with short_folder() as made:
            assert len(f"{made}/session_2026-11-25_23-13-41_927630_4194304/sockets/plasma_store") <= 107
            assert (made.parent == Path(named)) == (length <= LONGEST_TMPDIR)
            assert made.stat().st_mode & 0o777 == 0o700
        assert not made.exists()
    finally:
        os.rmdir(named)


def test_where_home_cannot_be_written_libraries_write_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches(tmp_path / "scratch") == {}
    assert list(tmp_path.iterdir()) == []
    # Nobody can, root neither.
    monkeypatch.setenv("HOME", "/proc/self")
    found = caches(tmp_path / "scratch")
    assert found["HF_HUB_CACHE"] == "/proc/self/.cache/huggingface/hub"
    assert found["HF_TOKEN_PATH"] == "/proc/self/.cache/huggingface/token"
    written = {"XDG_CACHE_HOME", "TRITON_HOME", "FLASHINFER_WORKSPACE_BASE"}
    assert all(Path(found[name]).is_relative_to(tmp_path / "scratch") for name in written)
    assert found.keys() == written | {"HF_HUB_CACHE", "HF_TOKEN_PATH"}
    monkeypatch.setenv("HF_HUB_CACHE", "/models")
    assert caches(tmp_path)["HF_HUB_CACHE"] == "/models"


def test_no_short_folder_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ExperimentError, match="set TMPDIR to one"), short_folder():
        pass


def test_the_next_command_removes_what_a_killed_one_left_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = tmp_path / "run"

    def killed(note: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shutil.rmtree", lambda *_, **__: None)
            with data_folder() as left:
                (left / ".owner").write_text(note)
                (left / "session").mkdir()
        return left

    of_a_command, of_a_dead_run, of_a_living_run = killed("-"), killed(str(tmp_path / "dead")), killed(str(run))
    foreign = tmp_path / "uft-somebody"
    foreign.mkdir()
    alive = subprocess.Popen(["sleep", "60"], env={**os.environ, **marked_environment(run)})
    try:
        with data_folder() as own, data_folder():
            assert not of_a_command.exists()
            assert not of_a_dead_run.exists()
            assert of_a_living_run.exists(), "its processes outlived their supervisor"
            assert own.exists()
            assert foreign.exists()
    finally:
        alive.kill()
        alive.wait()
    with data_folder():
        assert not of_a_living_run.exists()


def test_what_a_stage_leaves_in_the_temporary_folder_goes_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And sockets have short names there, whatever TMPDIR is."""
    seen: dict[str, str] = {}

    def supervised(command: list[str], env: dict[str, str], run_dir: Path, **_: Any) -> None:
        seen.update(env)
        (Path(env["TMPDIR"]) / "ckpt_0a1b2c3d.lock").touch()

    monkeypatch.setattr(run_stage, "supervise", supervised)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert len(str(tmp_path)) > LONGEST_TMPDIR
    stage = run_stage.Stage("a stage", RunDir(tmp_path / "run"), [], 1, "", lambda _: None)
    run_stage.run_stage(experiment(folder), stage, 1)
    assert len(seen["TMPDIR"]) <= LONGEST_TMPDIR + 13
    assert not Path(seen["TMPDIR"]).exists()
    # What was compiled is kept.
    assert Path(seen["TORCHINDUCTOR_CACHE_DIR"]).parent == tmp_path
