"""kk_logic, math and a user's own file through the whole loop: rewards in the pool, prompt styles, validation."""

import json
from pathlib import Path

import pytest

from tests.e2e.support import ROOT, metrics, rollouts, run

pytestmark = pytest.mark.e2e

SHORT = ("--algo", "uft", "--T", "2", "--T_hint", "2", "--batch_size", "8", "--n_rollout", "2", "--val_size", "8")


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def check_records(out: Path, source: str) -> dict[int, dict[str, float]]:
    found = metrics(out)
    assert sorted(found) == [0, 1, 2]
    assert f"val/acc/{source}" in found[2]
    for step in (1, 2):
        assert found[step]["reward/reward_error_rate"] == 0.0
        assert found[step]["reward/timeout_rate"] == 0.0
    assert found[1]["uft/hint_tokens"] > 0
    assert found[1]["actor/hint_nll"] > 0
    return found


def test_kk_logic_trains_and_validates(tmp_path: Path) -> None:
    run(tmp_path / "run", *SHORT, "--data", "kk_logic")
    check_records(tmp_path / "run", "kk_logic")
    assert "knights and knaves" in rollouts(tmp_path / "run", 1)[0]["prompt"]


def test_math_trains_from_a_local_copy_and_validates(tmp_path: Path) -> None:
    def problem(a: int, b: int) -> dict[str, str]:
        solution = f"Both numbers count. The sum is $\\boxed{{{a + b}}}$."
        return {"problem": f"What is ${a} + {b}$?", "solution": solution, "level": "Level 3", "type": "Algebra"}

    folder = tmp_path / "copy"
    write_jsonl(folder / "train.jsonl", [problem(a, 3) for a in range(40)])
    write_jsonl(folder / "test.jsonl", [problem(a, 5) for a in range(70)])
    run(tmp_path / "run", *SHORT, "--data", "math", "--data_path", str(folder))
    check_records(tmp_path / "run", "math")


def test_a_users_file_with_a_users_reward_in_another_prompt_style(tmp_path: Path) -> None:
    rows = [{"question": f"Say {n}.", "solution": f"The number is {n}.", "answer": str(n)} for n in range(60)]
    file = write_jsonl(tmp_path / "mine.jsonl", rows)
    reward = tmp_path / "reward.py"
    reward.write_text(
        "def length(response: str, answer: str) -> float:\n    return min(1.0, 0.5 + len(response) / 1e6)\n"
    )
    (tmp_path / "ones.py").write_text("def fine(response: str, answer: str) -> float:\n    return 1.0\n")
    refused = run(tmp_path / "no", *SHORT, "--data", str(file), "--reward", f"{reward}:length", check=False)
    assert refused.returncode == 2
    assert "does not accept the data's own solutions" in refused.stderr
    flags = ("--data", str(file), "--reward", f"{tmp_path}/ones.py:fine", "--prompt_style", "r1")
    run(tmp_path / "run", *SHORT, *flags)
    found = check_records(tmp_path / "run", "custom")
    assert found[2]["reward/acc"] == 1.0
    assert found[2]["val/acc"] == 1.0
    assert rollouts(tmp_path / "run", 1)[0]["prompt"].endswith("\nAssistant: <think>")
    assert not (ROOT / "train.parquet").exists()
