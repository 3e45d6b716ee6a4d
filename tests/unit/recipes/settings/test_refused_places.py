"""Folders of others, and damaged models and runs, are refused."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recipes.run.place import OF_THE_REPOSITORY
from run import main
from tests import ROOT
from tests.helpers.refusals import refusal

BAD = {
    "--out /": "--out /: the root folder",
    "--idx a/b": "--idx a/b: must be a word without /",
    "--out run.py": "/run.py is a file; choose another folder",
    "--out run.py/x": "/run.py is a file; choose another folder",
    "--out /proc/x": "--out /proc/x: No such file or directory; choose another folder",
    "--sweep --out run.py": "run.py is a file; choose another folder",
    "--pipeline sft,rft --out run.py": "/run.py is a file; choose another folder",
    "--eval --out run.py": "/run.py is a file; choose another folder",
    "--out .": "--out .: part of this repository",
    "--out models/new": "--out models/new: part of this repository; choose a folder under out/",
    "--sweep --out tests/new": "tests/new: part of this repository",
    "--pipeline sft,rft --out out/../recipes": "--out out/../recipes: part of this repository",
    "--eval --out data/new": "--out data/new: part of this repository",
    f"--idx {'x' * 250}": "File name too long; choose another folder",
    f"--sweep --idx {'x' * 250}": "File name too long; choose another folder",
    f"--eval --idx {'x' * 250}": "File name too long; choose another folder",
}


@pytest.mark.parametrize("command", BAD)
def test_a_place_that_is_no_runs_is_refused(command: str, refused: Callable[[str], str]) -> None:
    assert BAD[command] in refused(command)


def test_every_folder_of_the_repository_is_known() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT)
    folders = {line.partition("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert folders <= {*OF_THE_REPOSITORY}


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("--resume", "--resume: no run in "),
        ("--pipeline sft,rft --resume", "--resume: no run in "),
        ("--eval", "/models/tiny-countdown (the base model; no --model given)"),
    ],
)
def test_what_is_done_without_being_asked_for_is_said_once(
    mode: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main([*mode.split(), "--dry_run", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert [said.count(told), said.count("no --model and no --profile given: ")] == [1, 1]


@pytest.mark.parametrize("mode", [(), ("--eval",)])
@pytest.mark.parametrize("name", ["config.json", "adapter_config.json", "unified_ft.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_damaged_model_is_named(
    mode: tuple[str, ...], name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    (tmp_path / name).write_bytes(content)
    said = refusal(capsys, *mode, "--model", str(tmp_path), "--profile", "cpu", "--dry_run")
    assert f"{tmp_path / name} is damaged: it holds no JSON object" in said


@pytest.mark.parametrize("mode", [(), ("--sweep",)])
@pytest.mark.parametrize("content", [b"\xff\xfe", b"schema: x", b"schema: 2\nT: abc", b"T: 3\nmax_num_seqs: [1]"])
def test_a_damaged_run_is_not_gone_on_with(
    mode: tuple[str, ...], content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "uft-countdown-s0" if mode else tmp_path
    place.mkdir(exist_ok=True)
    (place / "experiment.yaml").write_bytes(content)
    words = (*mode, "--out", str(tmp_path), "--resume", "--profile", "cpu", "--dry_run")
    assert "experiment.yaml is damaged" in refusal(capsys, *words)
