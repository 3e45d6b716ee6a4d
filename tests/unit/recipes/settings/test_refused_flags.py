"""Words that are no flag, and overrides that verl does not have or that follow from a flag, are refused."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from recipes.algorithms import algorithms
from tests import ROOT
from tests.helpers.refusals import refusal

BAD = {
    "--algo sft --lr 1 --sft_lr 1": "--lr and --sft_lr mean the same for --algo sft; give one",
    "--sweep uft,rft,grpo": "uft,rft,grpo: does not belong to a flag; did you mean --algo uft,rft,grpo?",
    "--eval countdown": "countdown: does not belong to a flag; did you mean --data countdown?",
    "--n_rolout 8": "--n_rolout: no such flag; did you mean '--n_rollout'?",
    "--n-rolout 8": "--n-rolout: no such flag; did you mean '--n_rollout'?",
    "--n_rolout=8": "--n_rolout: no such flag; did you mean '--n_rollout'?",
    "extra words": "extra words: does not belong to a flag.",
    "--T 1 --T_h 1": "--T_h: no such flag",
    "--eval --skip gpqa ifeval": "ifeval: does not belong to a flag; write several values as --skip gpqa,ifeval.",
    "--seeds 0 1 2": "1 2: does not belong to a flag; write several values as --seeds 0,1,2.",
    "--learning_rate 1e-6": "--learning_rate: no such flag; use --lr. See run.py --help",
    "--max-steps 3": "--max-steps: no such flag; use --T. See run.py --help",
    "--algo dpo --max-steps 3": "--max-steps: no such flag; use --epochs. See run.py --help",
    "--algo sft --max_steps 3": "--max_steps: no such flag; use --sft_epochs. See run.py --help",
    "--algo dpo --kl_beta 3": "--kl_beta: no such flag; use --beta. See run.py --help",
    "--algo dpo --n_rolouts 3": "did you mean '--n_rollout'? It has no effect on this --algo.",
    "-- trainer.balance_batch=Flase": "is True here, and cannot become 'Flase'",
    "-- actor_rollout_ref.actor.clip_ratio=0.3": "actor.clip_ratio follows from --clip_ratio; change it there",
    "-- data.train_batch_size=16": "data.train_batch_size follows from --batch_size",
    "-- trainer.total_training_steps=5": "trainer.total_training_steps belongs to the number of steps: --T",
    "--dry_run trainer.balance_batch=False": "; give verl's settings at the end, after --",
    "trainer.balance_batch=False": "; give verl's settings at the end, after --",
    "--algo uft --gatee_coef 1": "--gatee_coef: no such flag",
    "-- algorithm.adv_estimator=xx": "algorithm.adv_estimator follows from --algo; change it there",
    "--sweep -- actor_rollout_ref.actor.policy_loss.loss_mode=gspo": "policy_loss.loss_mode follows from --algo",
    "-- reward.custom_reward_function.path=": "reward.custom_reward_function follows from --reward",
    "--algo sft -- model.path=x": "override 'model.path=x' after --: model.path follows from --model; change it there",
    "--lr 1e-5 --lr 1e-6": "--lr is given twice, with 1e-5 and 1e-6; give one",
    "--n-rollouts 4 --n_rollout=8": "--n_rollout is given twice, with 4 and 8; give one",
    "--idx a --dry_run full --dry_run": "--dry_run is given twice, with full and (nothing); give one",
    "-- nan": "override",
}


@pytest.mark.parametrize("command", BAD)
def test_words_that_are_no_flag_are_refused(command: str, refused: Callable[[str], str]) -> None:
    assert BAD[command] in refused(command)


ON_PROBLEMS = [name for name, algorithm in algorithms().items() if algorithm.method is None]


@pytest.mark.parametrize("algo", ON_PROBLEMS)
def test_an_override_that_no_stage_knows_is_refused_on_every_algorithm(
    algo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--algo", algo, "--profile", "cpu", "--dry_run", "--", "nonsense.key=1")
    assert "override 'nonsense.key' after --: verl has no such setting" in refusal(capsys, *words)


def test_the_command_itself_exits_with_2() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--n_rolout", "8"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
