"""The lab's command: what it lists, and what it refuses before anything is written."""

from pathlib import Path

import pytest

from bench.lab.__main__ import main
from bench.lab.planned import planned
from recipes.common.run_dir import RunDir, write_json, write_text
from recipes.settings.saved import to_yaml

CHAIN = ["--algo", "rft", "--data", "chain", "--depth", "6", "--T", "4", "--seeds", "0"]


def test_a_dry_run_lists_the_runs_and_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CHAIN, "--out", str(tmp_path / "lab"), "--dry_run"]) == 0
    assert capsys.readouterr().out.splitlines() == ["rft-chain-s0"]
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-0.5B", "models"])
def test_a_model_that_is_no_folder_is_refused(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CHAIN, "--model", model, "--out", str(tmp_path / "lab")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("bench.lab: ")
    assert not (tmp_path / "lab").exists()


def test_a_finished_run_is_not_made_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ((run,), _) = planned([*CHAIN, "--out", str(tmp_path / "lab")])
    folder = RunDir(run.folder)
    folder.path.mkdir(parents=True)
    write_text(folder.experiment, to_yaml(run.experiment))
    write_json(folder.summary, {"lab": True})
    assert main([*CHAIN, "--out", str(tmp_path / "lab")]) == 0
    assert capsys.readouterr().out.splitlines() == ["rft-chain-s0 is finished"]
    longer = [*CHAIN, "--out", str(tmp_path / "lab")]
    longer[longer.index("4")] = "6"
    assert main(longer) == 2
    assert "has a finished run of --T 4" in capsys.readouterr().err
    folder.experiment.unlink()
    assert main([*CHAIN, "--out", str(tmp_path / "lab"), "--dry_run"]) == 2
    assert "has a summary and no settings" in capsys.readouterr().err
