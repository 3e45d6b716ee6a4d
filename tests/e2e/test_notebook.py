"""The notebook of examples/, from its first cell to its last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.helpers.notebook import cells, source

pytestmark = [pytest.mark.e2e, pytest.mark.extended]


def test_the_notebook_runs_to_its_end(tmp_path: Path) -> None:
    env = {**os.environ, "MPLBACKEND": "Agg", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", source(cells())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "examples", env=env, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = next(tmp_path.glob("unified-ft-*"))
    for stage in ("stages/1-sft", "stages/2-dpo", "stages/3-grpo", "una"):
        assert (out / stage / "hf/last/README.md").exists(), stage
        assert (out / stage / "summary.json").exists(), stage
    assert (out / "curves.png").stat().st_size > 5000
    assert "Assistant: Let me solve this step by step." in done.stdout
    assert "UNA: " in done.stdout
