"""kk_logic and math through the whole loop: rewards in the pool, hints, validation."""

from pathlib import Path

import pytest

from tests.e2e.support import metrics, rollouts, run, write_jsonl

pytestmark = pytest.mark.e2e

SHORT = ("--algo", "uft", "--T", "2", "--T_hint", "2", "--batch_size", "8", "--n_rollout", "2", "--val_size", "8")


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


@pytest.mark.extended  # prompts of 750 tokens, as the embedded tokenizer spells them
def test_kk_logic_trains_and_validates(tmp_path: Path, serve: dict[str, str]) -> None:
    run(tmp_path / "run", *SHORT, "--data", "kk_logic", env=serve)
    check_records(tmp_path / "run", "kk_logic")
    assert "knights and knaves" in rollouts(tmp_path / "run", 1)[0]["prompt"]


def test_math_trains_from_a_local_copy_and_validates(tmp_path: Path, serve: dict[str, str]) -> None:
    def problem(a: int, b: int) -> dict[str, str]:
        solution = f"Both numbers count. The sum is $\\boxed{{{a + b}}}$."
        return {"problem": f"What is ${a} + {b}$?", "solution": solution, "level": "Level 3", "type": "Algebra"}

    folder = tmp_path / "copy"
    write_jsonl(folder / "train.jsonl", [problem(a, 3) for a in range(40)])
    write_jsonl(folder / "test.jsonl", [problem(a, 5) for a in range(70)])
    run(tmp_path / "run", *SHORT, "--data", "math", "--data_path", str(folder), env=serve)
    check_records(tmp_path / "run", "math")
