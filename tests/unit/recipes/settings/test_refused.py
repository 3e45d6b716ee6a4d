"""Commands that cannot mean what they say end in one clear line and code 2, also under --dry_run."""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.algorithms import algorithms
from recipes.common.errors import ExperimentError
from recipes.flags.parser import catalogue
from recipes.flags.resolve import build_experiment
from recipes.run import refuse
from recipes.run.place import OF_THE_REPOSITORY
from recipes.run.refuse import refuse_missing_devices
from recipes.settings.declare import Setting
from recipes.settings.profiles import PROFILES
from run import main
from tests import ROOT

ON_PROBLEMS = [name for name, algorithm in algorithms().items() if algorithm.method is None]

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
    "--algo rft --dynamic_sampling --dynamic_sampling_rounds 1": "--dynamic_sampling_rounds 1: must be at least 2",
    "--overlong_buffer 999": "--overlong_buffer 999: answers have at most --max_response_length 64 tokens",
    "--overlong_penalty .5": "--overlong_penalty 0.5: no answer is penalised; add --overlong_buffer 12",
    "--algo max_rl --overlong_buffer 8": "--overlong_buffer 8: has no effect on --algo max_rl; it applies to ",
    "--clip_ratio_high 0": "--clip_ratio_high 0.0: must be above 0",
    "--algo sft_rft --epochs 2": "--epochs 2.0: has no effect on --algo sft_rft",
    "--algo sft --lr 1 --sft_lr 1": "--lr and --sft_lr mean the same for --algo sft; give one",
    "--algo sft --epochs 1.5": "--epochs 1.5: must be a whole number for training on problems",
    "--sweep uft,rft,grpo": "uft,rft,grpo: does not belong to a flag; did you mean --algo uft,rft,grpo?",
    "--eval countdown": "countdown: does not belong to a flag; did you mean --data countdown?",
    "--out /": "--out /: the root folder",
    "--eval --T 3": "--T belongs to training; it has no effect on --eval",
    "--sweep --algo sft,sft_rft --seeds 0 --T_hint 3": "--T_hint 3: has no effect on --algo sft, sft_rft",
    "--n_rolout 8": "--n_rolout: no such flag; did you mean '--n_rollout'?",
    "--n_rolout=8": "--n_rolout: no such flag; did you mean '--n_rollout'?",
    "extra words": "extra words: does not belong to a flag.",
    "--T 1 --T_h 1": "--T_h: no such flag",
    "--eval --skip gpqa ifeval": "ifeval: does not belong to a flag; write several values as --skip gpqa,ifeval.",
    "--seeds 0 1 2": "1 2: does not belong to a flag; write several values as --seeds 0,1,2.",
    "--logger mlflow": "--logger mlflow: the package mlflow is not installed: ",
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
    "--lr -1e-5": "--lr -1e-05: must be above 0",
    "--lr 0": "--lr 0.0: must be above 0",
    "--algo sft_rft --sft_lr 0": "--sft_lr 0.0: must be above 0",
    "--algo dpo --data countdown_preference --lr 0": "--lr 0.0: must be above 0",
    "--clip_ratio_high .1": "--clip_ratio_high 0.1: less than --clip_ratio 0.2, the lower end",
    "--algo srft --clip_ratio .1": "--clip_ratio 0.1: has no effect on --algo srft",
    "--algo pope --sft_loss_coef 1": "--sft_loss_coef 1.0: has no effect on --algo pope",
    "--algo luffy --data chain --max_response_length 4 --max_hint_length 16": "longer than 20 tokens (shortest: 23)",
    "--algo sft --data chain --model models/tiny-countdown": "could not learn from any; increase it",
    "--overlong_buffer 64": "so every one would be penalised; use less (DAPO: a fifth, 12)",
    "--max_prompt_length 3": "tokens, and verl drops longer ones, so none would remain; increase it",
    "--data examples/custom/questions.jsonl --max_prompt_length 3": "so none would remain; increase it",
    "--algo sft,rft": "--algo sft,rft: names several algorithms; add --sweep to run each of them",
    "--algo tests": "--algo tests: a folder; give your own as --algo path/mine.py",
    "--algo run": "--algo run: no algorithm, but run.py is a file",
    "--data countdown:-1,chain:2": "-1 is not a weight; give a number above 0, such as 0.7",
    "--data countdown:70%,chain:30%": "70% is not a weight; give a number above 0",
    "--data countdown:0,chain:1": "countdown has weight 0; remove it",
    "--data countdown:.7": "weights are for mixtures; for a single data set give --data countdown",
    "--val_data countdown:.5,chain:.5": "validation uses each data set in full; remove the weights: countdown,chain",
    "--val_data countdown": "--val_data countdown: --data trains on the same; omit it",
    "--data examples/custom/questions.jsonl --val_data ./examples/custom/questions.jsonl": "--data trains on the same",
    "--data examples/custom/questions.jsonl --columns question=question,answer=question": "question cannot be both",
    "--eval --data examples/custom/preferences.jsonl": "contains answers; evaluations need problems",
    "--algo dpo --data countdown_preference --lr nan": "--lr nan: must be a finite number",
    "--lora_rank -8": "--lora_rank -8: must not be negative",
    "--seed -1": "--seed -1: must not be negative",
    "--temperature 0": "--temperature 0: the rollouts of a prompt would all be the same",
    "--stall_minutes 0": "--stall_minutes 0.0: must be above 0",
    "--stall_minutes nan": "--stall_minutes nan: must be a finite number",
    "--eval --n_samples 0": "--n_samples 0: must be at least 1",
    "--eval --top_p 1.5": "--top_p 1.5: must be above 0 and at most 1",
    "--eval --lr 1": "--lr belongs to training; it has no effect on --eval",
    "--eval --algo uft": "--algo belongs to training; it has no effect on --eval",
    "--algo nosuch.py": "--algo nosuch.py: no such file",
    "--depth 5": "--depth: has no effect on --data countdown; it is an option of chain",
    "--data chain --n_test 0": "--n_test 0: must be at least 1",
    "--data chain --states 6 --rule parity": "--states 6: must be a power of two for --rule parity",
    "--algo rft --demonstrations .3": "--demonstrations 0.3: has no effect on --algo rft",
    "--algo rft --hints sham": "--hints sham: has no effect on --algo rft",
    "--algo sft --temperature .5": "--temperature 0.5: has no effect on --algo sft; it applies to reinforcement",
    "--algo dpo --data examples/custom/preferences.jsonl --batch_size 4 --val_samples 4": "--val_samples 4: has no "
    "effect on --algo dpo on answers; it applies to training validated on problems",
    "--algo dpo --data countdown_preference --temperature .5": "--temperature 0.5: has no effect on --algo dpo",
    "--demonstration_noise 2": "--demonstration_noise 2.0: must be from 0 to 1",
    "--pipeline sft,grpo --algo uft": "--algo uft: has no effect on --pipeline; its stages are algorithms",
    "--algo sft --temperature 0 --val_samples 2": "--val_samples 2 with --temperature 0 would give the same answer",
    "--eval --data countdown_preference": "--data countdown_preference: contains answers; evaluations need "
    "problems; evaluate on the problems of --data countdown",
    "--learning_rate 1e-6": "--learning_rate: no such flag; use --lr. See run.py --help",
    "--max-steps 3": "--max-steps: no such flag; use --T. See run.py --help",
    "--algo dpo --max-steps 3": "--max-steps: no such flag; use --epochs. See run.py --help",
    "--algo sft --max_steps 3": "--max_steps: no such flag; use --sft_epochs. See run.py --help",
    "--algo dpo --kl_beta 3": "--kl_beta: no such flag; use --beta. See run.py --help",
    "--algo dpo --n_rolouts 3": "did you mean '--n_rollout'? It has no effect on this --algo.",
    "--algo uff": "--algo uff: no such algorithm; did you mean 'uft'?",
    "--algo hpt --gate 2": "--gate 2.0: must be from 0 to 1",
    "--algo chord_mu --mu_peak 2": "--mu_peak 2.0: must be from 0 to 1",
    "--algo relift --unsolved_buffer 0": "--unsolved_buffer 0: must be at least 1",
    "--visible-devices 0,x": "--visible_devices 0,x: 'x' is not a GPU; give a number, GPU-<uuid> or MIG-<uuid>",
    "--hints others": "argument --hints: invalid choice: 'others'",
    "--eval --demonstrations .3": "--demonstrations belongs to training; it has no effect on --eval",
    "--algo run.py": "--algo run.py: defines no ALGORITHM",
    "--rollout_correction_clip 3": "--rollout_correction_clip 3: has no effect without --rollout_correction token",
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
    "-- trainer.balance_batch=Flase": "is True here, and cannot become 'Flase'",
    "-- actor_rollout_ref.actor.clip_ratio=0.3": "actor.clip_ratio follows from --clip_ratio; change it there",
    "-- data.train_batch_size=16": "data.train_batch_size follows from --batch_size",
    "-- trainer.total_training_steps=5": "trainer.total_training_steps belongs to the number of steps: --T",
    "--dry_run trainer.balance_batch=False": "; give verl's settings at the end, after --",
    "trainer.balance_batch=False": "; give verl's settings at the end, after --",
    "--sweep --lr 1e-6,1e-5": "is several numbers; a sweep varies only algorithms, data and seeds",
    "--algo uft --gatee_coef 1": "--gatee_coef: no such flag",
    "-- algorithm.adv_estimator=xx": "algorithm.adv_estimator follows from --algo; change it there",
    "--sweep -- actor_rollout_ref.actor.policy_loss.loss_mode=gspo": "policy_loss.loss_mode follows from --algo",
    "-- reward.custom_reward_function.path=": "reward.custom_reward_function follows from --reward",
    "--algo sft -- model.path=x": "override 'model.path=x' after --: model.path follows from --model; change it there",
    "--lr 1e-5 --lr 1e-6": "--lr is given twice, with 1e-5 and 1e-6; give one",
    "--n-rollouts 4 --n_rollout=8": "--n_rollout is given twice, with 4 and 8; give one",
    "--idx a --dry_run full --dry_run": "--dry_run is given twice, with full and (nothing); give one",
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
    "--operators ++": "operators must be some of +-*/, each once, got '++'",
    "--visible-devices 7000": "--visible_devices 7000: GPU 7000 does not exist here",
    "--eval --visible-devices 7000": "--visible_devices 7000: GPU 7000 does not exist here",
    "--eval --data vnhsge": "--data vnhsge: is on no data hub and has no licence to ship it: git clone https://",
    "--eval --data villm --data_path nowhere": "/nowhere: no such folder",
    "--idx a/b": "--idx a/b: must be a word without /",
    "-- nan": "override",
    "--eval --k ²": "--k ²: '²' is not a whole number from 1 to n_samples (1)",
    "--eval --data leaderboard_old --n_samples 4": "--n_samples has no effect on lm-evaluation-harness's suites",
    "--n_train 8": "--n_train 8: fewer than --batch_size 32, not enough for one step",
    "--data kk_logic --n_train 8": "--n_train 8: fewer than --batch_size 32",
    "--sweep --n_train 8": "--n_train 8: fewer than --batch_size 32",
    "--pipeline sft,rft --n_train 8": "--n_train 8: fewer than --batch_size 32",
    "--data countdown --sizes 2 --max_number 9": "asked for 4352 countdown problems, but Space(",
    "--data kk_logic --people 2": "asked for 1088 knights-and-knaves puzzles, but with 2 people there are",
    "--data kk_logic --people 2,3 --n_train 16000": "there are fewer than 15100",
    "--data chain --depth 5": "asked for 4352 problems, but of depth 5 with 4 states there are 4096",
    "--data docs": "--data docs: docs/test.parquet does not exist; a data folder contains train.parquet",
    "--data examples/custom/questions.jsonl --val_data docs": "run.py: --data docs: docs/test.parquet does not exist",
    "--data math --data_path missing": "missing: no such file or folder",
    "--data others": "--data others is only for evaluation",
    "--algo sft --demonstrations 0": "--demonstrations 0: no problem would keep its solution, which --algo sft ",
    "--algo uft --demonstrations 0": "more than 0, or train without solutions: --algo rft",
    "--algo ppo --critic_lr 0": "--critic_lr 0.0: must be above 0",
    "--algo adaback --success_reward 2": "--success_reward 2.0: must be from 0 to 1",
    "--algo relift --dynamic_sampling_rounds 2": "--dynamic_sampling_rounds 2: has no effect on --algo relift",
    "--algo sft_rft --demonstrations .001": "--demonstrations 0.001: about 4 of 4096 problems keep a solution",
    "--lora_alpha 8": "--lora_alpha 8: there is no adapter; add --lora_rank 32",
    "--algo dpo --data countdown_preference --lora_dropout .1": "--lora_dropout 0.1: there is no adapter",
    "--idx a --out b": "--idx only changes the default folder's name; with --out it has no effect",
    "--sweep --idx a --out b": "--idx only changes the default folder's name; with --out it has no effect",
    "--eval --top_p .9": "--top_p 0.9: answers are greedy; add --temperature or --n_samples",
    "--out run.py": "/run.py is a file; choose another folder",
    "--out run.py/x": "/run.py is a file; choose another folder",
    "--out /proc/x": "--out /proc/x: No such file or directory; choose another folder",
    "--sweep --out run.py": "run.py is a file; choose another folder",
    "--pipeline sft,rft --out run.py": "/run.py is a file; choose another folder",
    "--eval --out run.py": "/run.py is a file; choose another folder",
    "--out .": "--out .: part of this repository",
    "--out models/new": "--out models/new: part of this repository; choose a folder under out/",
    "--sweep --out tests/new": "tests/new: part of this repository",
    "--pipeline sft,rft --out out/../recipes": "--out out/../recipes: part of this repository",
    "--eval --out data/new": "--out data/new: part of this repository",
    f"--idx {'x' * 250}": "File name too long; choose another folder",
    f"--sweep --idx {'x' * 250}": "File name too long; choose another folder",
    f"--eval --idx {'x' * 250}": "File name too long; choose another folder",
}

FULL_AT_THE_START = {"--sweep": "sweep", "--eval": "eval", "--reproduce uft_table": "reproduce"}


@pytest.mark.parametrize("mode", FULL_AT_THE_START)
def test_a_full_dry_run_is_of_trainings(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*mode.split(), "--dry_run", "full"]) == 2
    said = capsys.readouterr().err
    assert f"--dry_run full: only for training and --pipeline; with --{FULL_AT_THE_START[mode]}" in said


@pytest.mark.parametrize("mode", ["", "--sweep", "--pipeline sft,rft", "--eval"])
def test_devices_that_are_not_here_are_refused_at_the_start_alone(
    mode: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = [*mode.split(), "--profile", "h100x2", "--model", "Qwen/Qwen2.5-0.5B", "--out", str(tmp_path / "run")]
    assert main([*words, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert mode in ("--sweep", "--eval") or "cannot start here: --n_gpu 2: this machine has 0 visible GPUs" in said
    assert main(words) == 2
    assert "this machine has 0 visible GPUs; use fewer, or a profile for this machine" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_gpus_are_of_no_use_to_the_stack_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refuse, "gpu_count", lambda: 2)
    two = build_experiment({"model": "Qwen/Qwen2.5-0.5B"}, PROFILES["h100x2"])
    monkeypatch.setattr(refuse, "installed_vllm", lambda: "cpu")
    with pytest.raises(ExperimentError, match=r"for CPUs: \./install\.sh --profile cuda, or --profile cpu"):
        refuse_missing_devices(two)
    monkeypatch.setattr(refuse, "installed_vllm", lambda: "cuda")
    refuse_missing_devices(two)


def test_the_devices_of_a_cluster_are_not_counted_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    many = build_experiment({"model": "Qwen/Qwen2.5-0.5B"}, PROFILES["h100x2"])
    with pytest.raises(ExperimentError, match="this machine has 0 visible GPUs"):
        refuse_missing_devices(many)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    refuse_missing_devices(many)
    # Which trains on this machine alone.
    with pytest.raises(ExperimentError, match="0 visible GPUs"):
        refuse_missing_devices(build_experiment({"algo": "dpo", "data": "helpsteer2"}, PROFILES["h100x2"]))
    monkeypatch.setenv("RAY_ADDRESS", "")
    with pytest.raises(ExperimentError, match="RAY_ADDRESS names no cluster"):
        refuse_missing_devices(replace(many, nnodes=2))


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("--n_gpu 3", 0, "--batch_size 15: the default 16 is not a multiple of 3 devices\n"),
        (
            "--micro_batch_size 3",
            0,
            "--batch_size 24: the default 16 is not a multiple of --micro_batch_size 3 times 8 devices",
        ),
        ("--n_gpu 3 --batch_size 16", 2, "is not divisible by 3 devices. Nearest: --batch_size 15."),
        ("--batch_size 16 --micro_batch_size 3", 2, "the 2 rows that each device gets of --batch_size 16"),
        ("--profile 4x24gb", 0, "--lora_rank 32: all weights of Qwen/Qwen2.5-1.5B do not fit on a device"),
    ],
)
def test_any_number_of_devices_shares_a_training_on_answers(
    flags: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = [] if "--profile" in flags else ["--profile", "h100x8"]
    words = ["--algo", "dpo", "--data", "countdown_preference", "--dry_run", *profile, *flags.split()]
    assert main(words) == code
    assert said in "".join(capsys.readouterr())


def test_several_machines_without_a_cluster_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["--nnodes", "2", "--out", str(tmp_path / "run")]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(words) == 2
    assert "--nnodes 2: RAY_ADDRESS names no cluster" in capsys.readouterr().err
    assert main([*words, "--dry_run"]) == 0
    assert "cannot start here: --nnodes 2" in capsys.readouterr().out
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert main([*words, "--dry_run"]) == 0
    assert "cannot start here" not in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_looking_for_what_a_gpu_holds_is_refused_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--auto_batch", "--dry_run"]) == 2
    assert "--auto_batch: only for GPUs that run out of memory" in capsys.readouterr().err


def test_every_folder_of_the_repository_is_known() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT)
    folders = {line.partition("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert folders <= {*OF_THE_REPOSITORY}


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


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("--resume", "--resume: no run in "),
        ("--pipeline sft,rft --resume", "--resume: no run in "),
        ("--eval", "/models/tiny-countdown (the base model; no --model given)"),
    ],
)
def test_what_is_done_without_being_asked_for_is_said_once(
    mode: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main([*mode.split(), "--dry_run", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert [said.count(told), said.count("no --model and no --profile given: ")] == [1, 1]


def test_no_visible_device_is_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert main(["--visible-devices", "", "--dry_run", "--profile", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("model", "profile", "awake", "refused"),
    [
        ("google/gemma-3n-E2B-it", "1x80gb", False, True),
        ("google/gemma-4-2b", "1x80gb", False, True),
        ("google/gemma-3n-E2B-it", "1x80gb", True, False),
        ("google/gemma-3n-E2B-it", "cpu", False, False),
        ("google/gemma-2-2b-it", "1x80gb", False, False),
    ],
)
def test_models_whose_engine_forgets_values_while_it_sleeps_are_refused(
    model: str, profile: str, awake: bool, refused: bool
) -> None:
    overrides = ("actor_rollout_ref.rollout.free_cache_engine=False",) if awake else ()
    with pytest.raises(ExperimentError, match="no weight sync restores") if refused else nullcontext():
        build_experiment({"model": model, "overrides": overrides}, PROFILES[profile])


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


@pytest.mark.parametrize("mode", [(), ("--eval",)])
@pytest.mark.parametrize("name", ["config.json", "adapter_config.json", "unified_ft.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_damaged_model_is_named(
    mode: tuple[str, ...], name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    (tmp_path / name).write_bytes(content)
    assert main([*mode, "--model", str(tmp_path), "--profile", "cpu", "--dry_run"]) == 2
    assert f"{tmp_path / name} is damaged: it holds no JSON object" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [(), ("--sweep",)])
@pytest.mark.parametrize("content", [b"\xff\xfe", b"schema: x", b"schema: 2\nT: abc", b"T: 3\nmax_num_seqs: [1]"])
def test_a_damaged_run_is_not_gone_on_with(
    mode: tuple[str, ...], content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "uft-countdown-s0" if mode else tmp_path
    place.mkdir(exist_ok=True)
    (place / "experiment.yaml").write_bytes(content)
    assert main([*mode, "--out", str(tmp_path), "--resume", "--profile", "cpu", "--dry_run"]) == 2
    assert "experiment.yaml is damaged" in capsys.readouterr().err


def test_an_algorithm_that_ends_the_program_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit(3)")
    assert main(["--algo", str(tmp_path / "mine.py"), "--dry_run"]) == 2
    assert "cannot be loaded: SystemExit: 3" in capsys.readouterr().err
