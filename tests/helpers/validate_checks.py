"""What the tests of `data_prep validate` share: a file, and what the command says of a bad or a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.__main__ import main
from tests import ROOT

EXAMPLE = ROOT / "examples" / "custom" / "questions.jsonl"
GOOD = '{"question": "What is 2 + 2?", "answer": "4"}'
BAD_ANSWER = '{"question": "What is 2 + 2?", "answer": %s}'


def file_of(folder: Path, content: str | bytes, name: str = "mine.jsonl") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return str(path)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["validate", *arguments]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    return shown.err


def praise(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(["validate", *arguments])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return shown.out
