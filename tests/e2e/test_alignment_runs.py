"""The alignment family through run.py: a method on answers with its true reward, ppo and una_online, a pipeline."""

import json
from pathlib import Path

import pytest

from recipes.common.run_dir import RunDir
from tests.e2e.support import EMBEDDED, ROOT, metrics, rollouts, run, write_jsonl

pytestmark = pytest.mark.e2e

ROLLOUTS = ("--T", "2", "--batch_size", "8", "--n_rollout", "2", "--val_size", "8")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cut of the synthetic set, as a folder of the user's."""
    from data_prep.preference.toy import write_toy

    folder = tmp_path_factory.mktemp("answers")
    write_toy(folder, n_train=96, n_test=12, seed=1)
    return folder


@pytest.fixture(scope="module")
def pipeline(answers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sft on the instructions, then una on the scores, in one command."""
    out = tmp_path_factory.mktemp("pipeline") / "run"
    flags = ("--pipeline", "sft,una", "--data", str(answers), "--test_freq", "5", "--prompt_style", "completion")
    logged = ("--logger", "console,file,tensorboard,wandb", "--project", "tests")
    run(out, *flags, *logged, "--own_texts", "16", env={"WANDB_MODE": "offline"})
    return out


def test_stages_of_a_pipeline_start_from_each_others_weights(pipeline: Path) -> None:
    import yaml

    settings = yaml.safe_load((pipeline / "2-una/experiment.yaml").read_text())
    assert Path(settings["model"]) == pipeline / "1-sft/hf/last"
    assert [row["stage"] for row in json.loads((pipeline / "pipeline.json").read_text())] == ["1-sft", "2-una"]


def test_each_stage_moves_its_own_number(pipeline: Path) -> None:
    sft, una = metrics(pipeline / "1-sft"), metrics(pipeline / "2-una")
    likelihood = [row["val/instruction_nll"] for _, row in sorted(sft.items()) if "val/instruction_nll" in row]
    assert likelihood[-1] < likelihood[0]
    margin = [row["val/pairs/margin"] for _, row in sorted(una.items()) if "val/pairs/margin" in row]
    assert margin[-1] > margin[0]
    assert "val/forgetting" in una[max(una)]


def test_each_stage_leaves_a_card_and_its_trackers_files(pipeline: Path) -> None:
    for stage in ("1-sft", "2-una"):
        folder = pipeline / stage
        assert json.loads((folder / "summary.json").read_text())["tokens trained"] > 0
        (offline,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
        assert b"tests" in offline.read_bytes()
        assert list((folder / "tensorboard").iterdir())
    card = (pipeline / "2-una/hf/last/README.md").read_text()
    for part in ("| val/instruction_nll |", "| base model | models/tiny-countdown |", "| started from |", " trl "):
        assert part in card, part


def test_a_finished_pipeline_does_nothing_again(pipeline: Path, answers: Path) -> None:
    before = (pipeline / "2-una/metrics.jsonl").read_bytes()
    flags = ("--pipeline", "sft,una", "--data", str(answers), "--test_freq", "5", "--prompt_style", "completion")
    assert "2-una is finished" in run(pipeline, *flags, "--resume").stdout
    assert (pipeline / "2-una/metrics.jsonl").read_bytes() == before


def test_a_stage_that_learns_nothing_is_ended_by_its_loss_and_is_over_when_resumed(
    answers: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    flags = ("--algo", "dpo", "--data", str(answers), "--batch_size", "4", "--test_freq", "1", "--save_freq", "4")
    stopping = ("--early_stopping", "2", "--lr", "1e-30", "--prompt_style", "completion")
    said = run(out, *flags, *stopping).stdout
    assert "stopped        at step 2 of" in said
    found = metrics(out)
    assert sorted(found) == [0, 1, 2]
    assert found[0]["val/loss"] == found[1]["val/loss"] == found[2]["val/loss"]
    assert (out / "checkpoints/global_step_2/complete.json").exists()
    # As a kill leaves it before done.json: nothing is trained again.
    (out / "done.json").unlink()
    run(out, *flags, *stopping, "--resume")
    assert metrics(out) == found


def test_una_online_on_a_users_file_with_a_users_graded_reward(tmp_path: Path, serve: dict[str, str]) -> None:
    """Regression of the implicit reward without a critic; file, question and prompt style are the user's."""
    rows = [{"question": f"Say {n}.", "solution": f"The number is {n}.", "answer": str(n)} for n in range(60)]
    file = write_jsonl(tmp_path / "mine.jsonl", rows)
    body = "def mine(response, answer, question):\n    return 0.75 if question == f'Say {answer}.' else 0.25\n"
    (tmp_path / "exact.py").write_text(body)
    (tmp_path / "graded.py").write_text(f"GRADED = True\n{body}")
    flags = (*ROLLOUTS, "--data", str(file), "--prompt_style", "r1", "--log_rollouts", "-1")
    refused = run(tmp_path / "no", "--algo", "una_online", *flags, "--reward", f"{tmp_path}/exact.py:mine", check=False)
    assert refused.returncode == 2
    assert "does not accept the data's own solutions" in refused.stderr
    run(tmp_path / "run", "--algo", "una_online", *flags, "--reward", f"{tmp_path}/graded.py:mine", env=serve)
    found = metrics(tmp_path / "run")
    assert sorted(found) == [0, 1, 2]
    # The policy is the reference before its first update: (sigmoid(0) - 3/4)^2 for every rollout.
    assert found[1]["actor/implicit_reward"] == pytest.approx(0.0, abs=1e-3)
    assert found[1]["actor/una_loss"] == pytest.approx(1 / 16, abs=1e-3)
    assert found[1]["actor/score"] == pytest.approx(0.75, abs=1e-5)
    assert found[1]["critic/score/mean"] == pytest.approx(0.75, abs=1e-5)
    assert found[2]["actor/log_ratio"] != 0
    assert found[2]["reward/reward_error_rate"] == found[2]["reward/timeout_rate"] == 0.0
    assert "val/acc/custom" in found[2]
    assert not any(name.startswith("critic/vf") for name in found[2])
    assert rollouts(tmp_path / "run", 1)[0]["prompt"].endswith("\nAssistant: <think>")
    assert not (ROOT / "train.parquet").exists()


def test_ppo_trains_a_critic_beside_the_policy_and_publishes_its_weights(tmp_path: Path) -> None:
    run(tmp_path / "run", "--algo", "ppo", "--data", "countdown", *ROLLOUTS)
    found = metrics(tmp_path / "run")
    assert found[2]["critic/vf_loss"] > 0
    assert found[2]["actor/grad_norm"] > 0
    published = RunDir(tmp_path / "run").hf / "last/model.safetensors"
    assert published.read_bytes() != (EMBEDDED / "model.safetensors").read_bytes()
