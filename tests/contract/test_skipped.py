"""What verl leaves out of the data is counted and said, whatever an override names as data."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from recipes.watch.heartbeat import NOTICE

pytestmark = pytest.mark.contract


def said(capsys: pytest.CaptureFixture[str], train: Any, test: str, *, left: int, val_samples: int = -1) -> list[str]:
    from recipes.verl_plugin.skipped import report_skipped

    data = {
        "train_files": train,
        "val_files": test,
        "train_max_samples": -1,
        "val_max_samples": val_samples,
        "max_prompt_length": 10,
    }
    report_skipped(OmegaConf.create(data), range(left), range(5))
    return [line.partition(NOTICE)[2] for line in capsys.readouterr().out.splitlines()]


def test_problems_left_out_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = str(tmp_path / "train.parquet"), str(tmp_path / "test.parquet")
    pd.DataFrame({"x": range(20)}).to_parquet(train)
    pd.DataFrame({"x": range(8)}).to_parquet(test)
    why = "are skipped: prompts longer than --max_prompt_length 10 tokens"
    assert said(capsys, train, test, left=17) == [f"3 of 20 training problems {why}", f"3 of 8 test problems {why}"]
    # As many as --val_size asks for are all that could be there.
    assert said(capsys, train, test, left=20, val_samples=5) == []
    assert said(capsys, [train, train], test, left=33, val_samples=5) == [f"7 of 40 training problems {why}"]
    assert said(capsys, "hdfs://far/train.parquet", test, left=7, val_samples=5) == []


def test_verl_keeps_its_datasets_where_we_look() -> None:
    import inspect

    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    source = inspect.getsource(PPOTrainer)
    for name in ("train_dataset", "val_dataset"):
        assert f"self.{name} = create_rl_dataset(" in source, "fix trainer.py: report_skipped"
