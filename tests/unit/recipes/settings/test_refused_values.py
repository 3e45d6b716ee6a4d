"""A value that a flag cannot have is refused."""

from collections.abc import Callable

import pytest

from recipes.flags.parser import catalogue
from recipes.settings.declare import Setting
from tests.helpers.refusals import refusal

BAD = {
    "--algo rft --dynamic_sampling --dynamic_sampling_rounds 1": "--dynamic_sampling_rounds 1: must be at least 2",
    "--overlong_buffer 999": "--overlong_buffer 999: answers have at most --max_response_length 64 tokens",
    "--clip_ratio_high 0": "--clip_ratio_high 0.0: must be above 0",
    "--algo sft --epochs 1.5": "--epochs 1.5: must be a whole number for training on problems",
    "--logger mlflow": "--logger mlflow: the package mlflow is not installed: ",
    "--reward examples/custom/judge_reward.py:nosuch": "judge_reward.py has no function 'nosuch'",
    "--sft_loss_coef nan": "--sft_loss_coef nan: must be a finite number",
    "--algo una --data countdown_preference --beta inf": "--beta inf: must be a finite number",
    "--keep_checkpoints 0": "--keep_checkpoints 0: must be at least 1",
    "--log_rollouts -2": "--log_rollouts -2: must be at least 0, or -1 for all of them",
    "--lr -1e-5": "--lr -1e-05: must be above 0",
    "--lr 0": "--lr 0.0: must be above 0",
    "--algo sft_rft --sft_lr 0": "--sft_lr 0.0: must be above 0",
    "--algo dpo --data countdown_preference --lr 0": "--lr 0.0: must be above 0",
    "--clip_ratio_high .1": "--clip_ratio_high 0.1: less than --clip_ratio 0.2, the lower end",
    "--overlong_buffer 64": "so every one would be penalised; use less (DAPO: a fifth, 12)",
    "--algo sft,rft": "--algo sft,rft: names several algorithms; add --sweep to run each of them",
    "--algo tests": "--algo tests: a folder; give your own as --algo path/mine.py",
    "--algo run": "--algo run: no algorithm, but run.py is a file",
    "--algo dpo --data countdown_preference --lr nan": "--lr nan: must be a finite number",
    "--lora_rank -8": "--lora_rank -8: must not be negative",
    "--seed -1": "--seed -1: must not be negative",
    "--temperature 0": "--temperature 0: the rollouts of a prompt would all be the same",
    "--stall_minutes 0": "--stall_minutes 0.0: must be above 0",
    "--stall_minutes nan": "--stall_minutes nan: must be a finite number",
    "--eval --n_samples 0": "--n_samples 0: must be at least 1",
    "--eval --top_p 1.5": "--top_p 1.5: must be above 0 and at most 1",
    "--algo nosuch.py": "--algo nosuch.py: no such file",
    "--data chain --n_test 0": "--n_test 0: must be at least 1",
    "--demonstration_noise 2": "--demonstration_noise 2.0: must be from 0 to 1",
    "--algo sft --temperature 0 --val_samples 2": "--val_samples 2 with --temperature 0 would give the same answer",
    "--algo uff": "--algo uff: no such algorithm; did you mean 'uft'?",
    "--algo hpt --gate 2": "--gate 2.0: must be from 0 to 1",
    "--algo chord_mu --mu_peak 2": "--mu_peak 2.0: must be from 0 to 1",
    "--algo relift --unsolved_buffer 0": "--unsolved_buffer 0: must be at least 1",
    "--hints others": "argument --hints: invalid choice: 'others'",
    "--algo run.py": "--algo run.py: defines no ALGORITHM",
    "--sft_loss_coef -1": "--sft_loss_coef -1.0: must not be negative",
    "--lora_rank 4 --lora_alpha 0": "--lora_alpha 0: an adapter of scale 0 has no effect",
    **{
        f"--algo {algo} --data countdown_preference {flag}": said
        for algo, flag, said in (
            ("dpo", "--micro_batch_size 0", "--micro_batch_size 0: must be at least 1"),
            ("dpo", "--batch_size 0", "--batch_size 0: must be at least 1"),
            ("dpo", "--epochs 0", "--epochs 0.0: must be above 0"),
            ("kto", "--beta 0", "--beta 0.0: must be above 0"),
            ("sft", "--max_length 1", "--max_length 1: must be at least 2"),
            ("una", "--sft_ratio -.5", "--sft_ratio -0.5: must not be negative"),
            ("una", "--lora_dropout 1", "--lora_dropout 1.0: must be at least 0 and below 1"),
            ("una", "--lora_alpha -8", "--lora_alpha -8: must not be negative"),
        )
    },
    "--sweep --seeds 0,one": "--seeds: 'one' in '0,one' is not a whole number",
    "--sweep --seeds ²": "--seeds: '²' in '²' is not a whole number",
    "--sweep --seeds 1,1": "--seeds: 1 is given twice",
    "--sweep --seeds 1,01": "--seeds: 1 is given twice",
    "--sweep --seeds -1": "--seeds -1: -1 must not be negative",
    "--sweep --seeds 4294967296": "--seeds 4294967296: 4294967296 must be at most 4294967295",
    "--seed 4294967296": "--seed 4294967296: must be at most 4294967295",
    "--T 1000000001": "--T 1000000001: must be at most 1000000000",
    "--lora_rank 99999999999": "--lora_rank 99999999999: must be at most 1000000000",
    "--data chain --depth 99999999999999999999": "--depth 99999999999999999999: has too many digits",
    "--data countdown --sizes 3,x": "--sizes: 'x' in '3,x' is not a whole number",
    "--sweep --lr 1e-6,1e-5": "is several numbers; a sweep varies only algorithms, data and seeds",
    "--lr 1,5": "argument --lr: '1,5' is not written as a number; write 1.5",
    "--lr fast": "argument --lr: 'fast' is not a number, such as 0.5 or 1e-6",
    "--batch_size 1e2": "argument --batch_size: '1e2' is not written as a whole number; write 100",
    "--T 1.5": "argument --T: '1.5' is not a whole number, such as 8",
    "--seed 1,2": "argument --seed: '1,2' is not a whole number; several seeds are given as --sweep --seeds 0,1,2",
    "--sweep --seeds 0-2": "argument --seeds: '0-2' in '0-2' is not a whole number; write several as 0,1,2",
    "--hints=": "argument --hints: an empty value (choose from 'own', 'sham')",
    "--clip_ratio 5": "--clip_ratio 5.0: must be between 0 and 1, as the lower bound is 1 - clip_ratio",
    "--entropy_coef 7": "--entropy_coef 7.0: must be from -1 to 1",
    "--logger console,file,console": "argument --logger: console is given twice in 'console,file,console'",
    "--lr 2": "--lr 2.0: must be at most 1",
    "--algo dpo --data countdown_preference --lr 2": "--lr 2.0: must be at most 1",
    "--algo sft_rft --sft_lr 3": "--sft_lr 3.0: must be at most 1",
    "--eval --k ²": "--k ²: '²' is not a whole number from 1 to n_samples (1)",
    "--algo ppo --critic_lr 0": "--critic_lr 0.0: must be above 0",
    "--algo adaback --success_reward 2": "--success_reward 2.0: must be from 0 to 1",
}


@pytest.mark.parametrize("command", BAD)
def test_a_value_that_is_none_is_refused(command: str, refused: Callable[[str], str]) -> None:
    assert BAD[command] in refused(command)


@pytest.mark.parametrize("mode", ["sweep", "eval", "reproduce uft_table"])
def test_a_full_dry_run_is_of_trainings(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = f"--dry_run full: only for training and --pipeline; with --{mode.split()[0]}"
    assert said in refusal(capsys, *f"--{mode} --dry_run full".split())


TEXTS = [
    each
    for each in catalogue().values()
    if each.kind in (str, tuple) and not each.switch and each.name != "visible_devices"
]


@pytest.mark.parametrize(
    "value", ["", " ", "x" * 256, "a/" * 3000, "\udcff"], ids=["none", "space", "name", "path", "byte"]
)
@pytest.mark.parametrize("setting", TEXTS, ids=lambda setting: setting.name)
def test_a_text_that_names_nothing_is_refused(setting: Setting, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it would choose another mode: --pipeline '' is no training."""
    words = f"--{setting.spelling}={value}"
    refusal(capsys, words, "--dry_run", begins=f"run.py: argument --{setting.spelling}: ")
