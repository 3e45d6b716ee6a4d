"""Waits for the hub: told after a while, with their end, and not once for every file."""

import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from data_prep import asking_hub
from data_prep.faults import CustomDataError
from data_prep.files.hub_set import split_names
from recipes.common.errors import ExperimentError
from recipes.data import stored_tokenizer
from recipes.run.hub import refuse_push

WAITING = "a request without an answer is given up after 83 seconds at most (HF_HUB_OFFLINE=1 asks for nothing)"


def unanswered(*_: Any, **__: Any) -> Any:
    time.sleep(0.2)
    raise LocalEntryNotFoundError("no way to the hub")


@pytest.mark.parametrize("patience", [0.01, 10.0])
@pytest.mark.parametrize("call", ["model", "data", "push"])
def test_whoever_waits_for_the_hub_is_told(
    call: str, patience: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asking_hub, "PATIENCE_S", patience)
    monkeypatch.setattr(stored_tokenizer, "_unanswered_until", [0.0])
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    for name in ("huggingface_hub.hf_hub_download", "datasets.get_dataset_split_names"):
        monkeypatch.setattr(name, unanswered)
    monkeypatch.setattr("huggingface_hub.HfApi.whoami", unanswered)
    if call == "model":
        assert stored_tokenizer.find_file("me/none", "config.json", fetch=True) is None
    elif call == "data":
        with pytest.raises(CustomDataError, match="cannot be loaded"):
            split_names(f"me/none{patience}", None)
    else:
        with pytest.raises(ExperimentError, match="does not answer"):
            refuse_push("me/none")
    assert (WAITING in capsys.readouterr().err) == (patience < 1)


def test_reading_a_folder_here_waits_for_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asking_hub, "PATIENCE_S", 0.01)
    monkeypatch.setattr("datasets.get_dataset_split_names", unanswered)
    with pytest.raises(CustomDataError, match="cannot be loaded"):
        split_names(str(tmp_path), None)
    assert "waiting" not in capsys.readouterr().err


def test_a_hub_that_did_not_answer_is_not_asked_for_the_next_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(_: str, name: str) -> str:
        asked.append(name)
        return str(unanswered() if len(asked) == 1 else Path(name))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(stored_tokenizer, "_unanswered_until", [0.0])
    for name in ("config.json", "tokenizer.json"):
        assert stored_tokenizer.find_file("me/none", name, fetch=True) is None
    assert asked == ["config.json"]
    stored_tokenizer._unanswered_until[0] = 0.0
    assert stored_tokenizer.find_file("me/none", "tokenizer.json", fetch=True) == Path("tokenizer.json")
