"""Commands that cannot mean what they say end in one clear line and code 2, also under --dry_run."""

import os
import subprocess
import sys

import pytest

from recipes.algorithms import algorithms
from recipes.flags import catalogue
from recipes.settings import Setting
from run import main
from tests.front_checks import ROOT

ON_PROBLEMS = [name for name, algorithm in algorithms().items() if algorithm.method is None]

BAD = {
    "--algo sft --T_hint 3": "--T_hint 3: has no effect on --algo sft; it applies to ",
    "--algo dpo --data countdown_preference --n_rollout 64": "--n_rollout 64: has no effect on --algo dpo on answers",
    "--algo r3 --beta 3": "--beta 3.0: has no effect on --algo r3; it applies to dpo, kto, una, una_online, una_sft",
    "--algo luffy --sft_loss_coef 1": "--sft_loss_coef 1.0: has no effect on --algo luffy",
    "--algo rft --critic_lr 1": "--critic_lr 1.0: has no effect on --algo rft; it applies to ppo",
    "--algo una_online --clip_ratio .3": "--clip_ratio 0.3: has no effect on --algo una_online",
    "--algo sft_rft --epochs 2": "--epochs 2.0: has no effect on --algo sft_rft",
    "--algo sft --lr 1 --sft_lr 1": "--lr and --sft_lr mean the same for --algo sft; give one",
    "--algo sft --epochs 1.5": "--epochs 1.5: passes over problems are whole ones",
    "--eval --T 3": "--T belongs to training; it has no effect on --eval",
    "--sweep --algo sft,sft_rft --seeds 0 --T_hint 3": "--T_hint 3: has no effect on --algo sft, sft_rft",
    "--n_rolout 8": "--n_rolout: no such flag; did you mean '--n_rollout'?",
    "--n_rolout=8": "--n_rolout: no such flag; did you mean '--n_rollout'?",
    "extra words": "extra words: belongs to no flag.",
    "--T 1 --T_h 1": "--T_h: no such flag",
    "--logger mlflow": "--logger mlflow: the package mlflow is not installed; pip install mlflow",
    "--reward examples/custom/judge_reward.py:nosuch": "judge_reward.py has no function 'nosuch'",
    "--sft_loss_coef nan": "--sft_loss_coef nan: must be a finite number",
    "--algo una --data countdown_preference --beta inf": "--beta inf: must be a finite number",
    "--n_gpu 3000": "--n_gpu 3000: this machine has",
    "--algo sft --nnodes 2": "--nnodes 2: has no effect on --algo sft; it applies to reinforcement stages",
    "--algo dpo --data countdown_preference --tp_size 1": "--tp_size 1: has no effect on --algo dpo on answers",
    "--algo sft --max_num_seqs 8": "--max_num_seqs 8: has no effect on --algo sft",
    "--algo kto --data countdown_preference --reward math": "--reward math: has no effect on --algo kto on answers",
    "--keep_checkpoints 0": "--keep_checkpoints 0: must be at least 1",
    "--log_rollouts -2": "--log_rollouts -2: must be at least 0, or -1 for all of them",
    "--lr -1e-5": "--lr -1e-05: must not be negative",
    "--algo dpo --data countdown_preference --lr nan": "--lr nan: must be a finite number",
    "--lora_rank -8": "--lora_rank -8: must not be negative",
    "--seed -1": "--seed -1: must not be negative",
    "--temperature 0": "--temperature 0: the rollouts of a prompt would all be the same",
    "--stall_minutes 0": "--stall_minutes 0.0: must be above 0",
    "--stall_minutes nan": "--stall_minutes nan: must be a finite number",
    "--eval --n_samples 0": "--n_samples 0: must be at least 1",
    "--eval --top_p 1.5": "--top_p 1.5: must be above 0, and at most 1",
    "--eval --lr 1": "--lr belongs to training; it has no effect on --eval",
    "--eval --algo uft": "--algo belongs to training; it has no effect on --eval",
    "--algo nosuch.py": "--algo nosuch.py: no such file",
    "--depth 5": "--depth: has no effect on --data countdown; it is an option of chain",
    "--data chain --n_test 0": "--n_test 0: must be at least 1",
    "--data chain --states 6 --rule parity": "states must be a power of two for the rule parity",
    "--algo rft --demonstrations .3": "--demonstrations 0.3: has no effect on --algo rft",
    "--algo rft --hints sham": "--hints sham: has no effect on --algo rft",
    "--algo sft --val_samples 4": "--val_samples 4: has no effect on --algo sft",
    "--demonstration_noise 2": "--demonstration_noise 2.0: must be from 0 to 1",
    "--hints others": "argument --hints: invalid choice: 'others'",
    "--eval --demonstrations .3": "--demonstrations belongs to training; it has no effect on --eval",
    "--algo run.py": "--algo run.py: defines no ALGORITHM",
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
    "--algo dpo --data countdown_preference --epochs 0": "--epochs 0.0: must be above 0",
    "--algo dpo --data countdown_preference --max_length 0": "--max_length 0: must be at least 1",
    "--algo dpo --data countdown_preference --micro_batch_size 0": "--micro_batch_size 0: must be at least 1",
    "--algo dpo --data countdown_preference --beta 0": "--beta 0.0: must be above 0",
    "--idx a/b": "--idx a/b: must be a word, without /",
    "-- nan": "override",
}

TEXTS = [each for each in catalogue().values() if not each.switch and each.kind in (str, tuple)]


@pytest.mark.parametrize(
    "value", ["", " ", "x" * 256, "a/" * 3000, "\udcff"], ids=["none", "space", "name", "path", "byte"]
)
@pytest.mark.parametrize("setting", TEXTS, ids=lambda setting: setting.name)
def test_a_text_that_names_nothing_is_refused(setting: Setting, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it would choose another mode: --pipeline '' is no training."""
    if setting.name == "visible_devices":
        return
    with pytest.raises(SystemExit, match="2"):
        main([f"--{setting.spelling}={value}", "--dry_run"])
    said = capsys.readouterr().err
    assert said.startswith(f"run.py: argument --{setting.spelling}: ")
    assert said.count("\n") == 1


def test_no_visible_device_is_a_value(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert main(["--visible-devices", "", "--dry_run", "--profile", "cpu"]) == 0
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("also", [(), ("--dry_run",)], ids=["start", "dry run"])
@pytest.mark.parametrize("command", BAD)
def test_a_bad_command_ends_in_one_line_with_code_2(
    command: str, also: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    try:
        code = main([*command.split(), "--profile", "cpu", *also])
    except SystemExit as end:
        code = int(str(end.code))
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(said) == 1, said
    assert said[0].startswith("run.py: ")
    assert BAD[command] in said[0]


@pytest.mark.parametrize("algo", ON_PROBLEMS)
def test_an_override_that_no_stage_knows_is_refused_on_every_algorithm(
    algo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--algo", algo, "--profile", "cpu", "--dry_run", "--", "nonsense.key=1"]) == 2
    assert "override 'nonsense.key' after --: verl has no such setting" in capsys.readouterr().err


def test_a_sweep_takes_a_flag_that_one_of_its_algorithms_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sweep", "--algo", "sft,uft", "--seeds", "0", "--T_hint", "3", "--profile", "cpu", "--dry_run"]) == 0
    assert "uft" in capsys.readouterr().out


def test_lr_and_epochs_mean_the_one_stage_of_sft(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--algo", "sft", "--lr", "3e-4", "--epochs", "2", "--profile", "cpu", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "x 2 epochs" in said
    assert "lr 0.0003 (10 % warm-up" in said


def test_the_command_itself_exits_with_2() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--n_rolout", "8"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
