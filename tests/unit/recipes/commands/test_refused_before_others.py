"""What one of several runs, stages or data sets would be refused for is told before any of them starts."""

import json
from pathlib import Path

import pytest

from run import main


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """ok.jsonl: sums with a solution; bare.jsonl: others without; null.jsonl: one without an answer; a reward."""
    sums = [(a, b) for a in range(9) for b in range(9)]
    good = [
        {"question": f"What is {a} plus {b}?", "solution": f"We add. {a} + {b}.", "answer": f"{a + b}"} for a, b in sums
    ]
    bare = [{"question": f"What is {a} times {b}?", "answer": str(a * b)} for a, b in sums]
    null = [{**row, "answer": None if number == 6 else row["answer"]} for number, row in enumerate(good)]
    for name, rows in {"ok": good, "bare": bare, "null": null}.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "reward.py").write_text(
        "def reward(response, answer):\n    raise RuntimeError('no')\n", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--sweep --algo uft,sft --data {0}/ok.jsonl,{0}/bare.jsonl", "none of the"),
        ("--sweep --algo sft,uft --data {0}/ok.jsonl --reward {0}/reward.py:reward", "raised RuntimeError: no"),
        ("--sweep --algo uft --data countdown --val_data {0}/null.jsonl", "column answer: empty"),
        ("--pipeline sft,uft --data {0}/ok.jsonl,{0}/bare.jsonl", "none of the"),
        ("--algo uft --data {0}/null.jsonl:0.5,countdown:0.5", "column answer: empty"),
        ("--algo uft --data countdown --val_data {0}/null.jsonl", "column answer: empty"),
    ],
)
def test_the_fault_of_one_is_found_before_the_first_starts(
    command: str, said: str, start: bool, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.format(files).split()
    out = files / "out"
    assert main([*words, "--profile", "cpu", "--out", str(out), *([] if start else ["--dry_run"])]) == 2
    assert said in capsys.readouterr().err
    assert not [file for file in out.rglob("*") if file.name in ("experiment.yaml", "metrics.jsonl")]
