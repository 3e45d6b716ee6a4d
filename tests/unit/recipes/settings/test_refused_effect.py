"""A flag without effect on the run it is given to is refused."""

from collections.abc import Callable

import pytest

from run import main

BAD = {
    "--algo sft --T_hint 3": "--T_hint 3: has no effect on --algo sft; it applies to ",
    "--algo dpo --data countdown_preference --n_rollout 64": "--n_rollout 64: has no effect on --algo dpo on answers",
    "--algo r3 --beta 3": "--beta 3.0: has no effect on --algo r3; it applies to dpo, kto, una, una_online, una_sft",
    "--algo luffy --sft_loss_coef 1": "--sft_loss_coef 1.0: has no effect on --algo luffy",
    "--algo rft --critic_lr 1": "--critic_lr 1.0: has no effect on --algo rft; it applies to ppo",
    "--algo una_online --clip_ratio .3": "--clip_ratio 0.3: has no effect on --algo una_online",
    "--algo una_online --clip_ratio_high .3": "--clip_ratio_high 0.3: has no effect on --algo una_online",
    "--algo adaback --dynamic_sampling": "--dynamic_sampling True: has no effect on --algo adaback; it applies to ",
    "--algo ppo --dynamic_sampling": "--dynamic_sampling True: has no effect on --algo ppo; it applies to ",
    "--algo hpt --dynamic_sampling": "--dynamic_sampling True: has no effect on --algo hpt; it applies to ",
    "--dynamic_sampling_rounds 2": "--dynamic_sampling_rounds 2: has no effect without --dynamic_sampling",
    "--overlong_penalty .5": "--overlong_penalty 0.5: no answer is penalised; add --overlong_buffer 12",
    "--algo max_rl --overlong_buffer 8": "--overlong_buffer 8: has no effect on --algo max_rl; it applies to ",
    "--algo sft_rft --epochs 2": "--epochs 2.0: has no effect on --algo sft_rft",
    "--eval --T 3": "--T belongs to training; it has no effect on --eval",
    "--sweep --algo sft,sft_rft --seeds 0 --T_hint 3": "--T_hint 3: has no effect on --algo sft, sft_rft",
    "--algo sft --nnodes 2": "--nnodes 2: has no effect on --algo sft; it applies to reinforcement stages",
    "--algo dpo --data countdown_preference --tp_size 1": "--tp_size 1: has no effect on --algo dpo on answers",
    "--algo sft --max_num_seqs 8": "--max_num_seqs 8: has no effect on --algo sft",
    "--algo kto --data countdown_preference --reward math": "--reward math: has no effect on --algo kto on answers",
    "--algo srft --clip_ratio .1": "--clip_ratio 0.1: has no effect on --algo srft",
    "--algo pope --sft_loss_coef 1": "--sft_loss_coef 1.0: has no effect on --algo pope",
    "--eval --lr 1": "--lr belongs to training; it has no effect on --eval",
    "--eval --algo uft": "--algo belongs to training; it has no effect on --eval",
    "--depth 5": "--depth: has no effect on --data countdown; it is an option of chain",
    "--algo rft --demonstrations .3": "--demonstrations 0.3: has no effect on --algo rft",
    "--algo rft --hints sham": "--hints sham: has no effect on --algo rft",
    "--algo sft --temperature .5": "--temperature 0.5: has no effect on --algo sft; it applies to reinforcement",
    "--algo dpo --data examples/custom/preferences.jsonl --batch_size 4 --val_samples 4": "--val_samples 4: has no "
    "effect on --algo dpo on answers; it applies to training validated on problems",
    "--algo dpo --data countdown_preference --temperature .5": "--temperature 0.5: has no effect on --algo dpo",
    "--pipeline sft,grpo --algo uft": "--algo uft: has no effect on --pipeline; its stages are algorithms",
    "--eval --demonstrations .3": "--demonstrations belongs to training; it has no effect on --eval",
    "--rollout_correction_clip 3": "--rollout_correction_clip 3: has no effect without --rollout_correction token",
    "--eval --data leaderboard_old --n_samples 4": "--n_samples has no effect on lm-evaluation-harness's suites",
    "--algo relift --dynamic_sampling_rounds 2": "--dynamic_sampling_rounds 2: has no effect on --algo relift",
    "--lora_alpha 8": "--lora_alpha 8: there is no adapter; add --lora_rank 32",
    "--algo dpo --data countdown_preference --lora_dropout .1": "--lora_dropout 0.1: there is no adapter",
    "--idx a --out b": "--idx only changes the default folder's name; with --out it has no effect",
    "--sweep --idx a --out b": "--idx only changes the default folder's name; with --out it has no effect",
    "--eval --top_p .9": "--top_p 0.9: answers are greedy; add --temperature or --n_samples",
}


@pytest.mark.parametrize("command", BAD)
def test_a_flag_without_effect_is_refused(command: str, refused: Callable[[str], str]) -> None:
    assert BAD[command] in refused(command)


def test_a_sweep_takes_a_flag_that_one_of_its_algorithms_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sweep", "--algo", "sft,uft", "--seeds", "0", "--T_hint", "3", "--profile", "cpu", "--dry_run"]) == 0
    assert "uft" in capsys.readouterr().out


def test_lr_and_epochs_mean_the_one_stage_of_sft(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--algo", "sft", "--lr", "3e-4", "--epochs", "2", "--profile", "cpu", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "x 2 epochs" in said
    assert "lr 0.0003 (10 % warm-up" in said
