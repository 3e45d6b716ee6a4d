"""The harness as a stage: the watchdog is told when it lives and when it is done."""

import json
import sys
import time
from pathlib import Path

import pytest

from recipes.common.run_dir import RunDir
from recipes.run import harness_stage


@pytest.mark.parametrize(("code", "phase", "step"), [(0, "finished", 1), (2, "evaluating", 0)])
def test_the_heartbeat_follows_the_log_and_ends_with_success_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, phase: str, step: int
) -> None:
    seen = []

    def harness() -> int:
        seen.append(json.loads(RunDir(tmp_path).progress.read_text())["phase"])
        RunDir(tmp_path).log.write_text("10 %")
        time.sleep(0.2)
        written = RunDir(tmp_path).progress.stat().st_mtime_ns
        time.sleep(0.2)
        seen.append(RunDir(tmp_path).progress.stat().st_mtime_ns == written)
        seen.append(json.loads(RunDir(tmp_path).progress.read_text())["phase"])
        return code

    monkeypatch.setattr(harness_stage, "harness", harness)
    monkeypatch.setattr(harness_stage, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(sys, "argv", ["harness_stage", "--suite", "villm", "--out", str(tmp_path)])
    assert harness_stage.main() == code
    assert seen == ["starting", True, "evaluating"], "a silent harness must not seem alive"
    found = json.loads(RunDir(tmp_path).progress.read_text())
    assert (found["phase"], found["step"]) == (phase, step)
