"""The runs of a first hour on one GPU, in order of worth, each with its log, seconds and exit code.

    python -m tests.gpu.kit.hour --out results/gpu --minutes 9 check smoke+untied+main tests_first

Stages joined by + run side by side; each run then has a small cache of its own, so that none counts another's memory.
A stage that fails stops no other one. What is there after every stage lies in --out/hour.tar.gz and summary.json, so
that a command which is ended at a time limit loses the stage it was in and nothing else. The next command adds its
stages there; a stage that is named again starts anew, and its line and files replace the former ones.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from recipes.watch.processes import end_processes

ROOT = Path(__file__).resolve().parents[3]
WORK = Path("/tmp/uft-hour")
TINY = ROOT / "models/tiny-countdown"
LINES = 12
# tests/gpu, a part for each command of ten minutes.
TESTS = {
    "tests_first": "uft_runs or hint_nll or engine_samples or evaluating or adapters",
    "tests_sft": "sft_runs or una_online",
    "tests_resume": "killed_run",
    "tests_runners": "model_runners or failed_sessions",
}
# Beside other runs: vLLM would take what they free meanwhile for its own, and refuse to go on.
SHARED = (
    "--rollout_memory 0.1 -- +actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes=6000000000 "
    "ray_kwargs.ray_init.num_cpus=32"
)
SMOKE = (
    "--data countdown --batch_size 32 --mini_batch_size 16 --lr 1e-4 --max_hint_length 128 --max_response_length 128 "
    "--max_prompt_length 768 --T 4 --T_hint 3 --test_freq 2 --val_size 64 --log_rollouts -1"
)
UNTIED = (
    "--data countdown --max_prompt_length 512 --max_hint_length 128 --max_response_length 128 --T 4 --T_hint 3 "
    "--test_freq 2 --val_size 64 --batch_size 32 --mini_batch_size 32 --lr 5e-4"
)
# The README's main job in the sizes of the cpu profile.
MAIN = "--T 30 --T_hint 18 --batch_size 32 --mini_batch_size 32 --lr 5e-4 --test_freq 5 --max_hint_length 64"
# A cell: several methods beside each other, of flags only those that apply to a method. The study's first
# (bench/study/cells.py) in the sizes of the cpu profile, for which there are runs of the CPU and the lab to compare.
CELL = (
    "--data chain --depth 10 --n_train 4096 --T 40 --test_freq 10 --save_freq 40 --val_samples 4 --val_size 64 "
    "--batch_size 32 --mini_batch_size 32 --lr 5e-4 --max_prompt_length 128 --max_response_length 64"
)
METHODS = {
    "uft": "--T_hint 24 --demonstration_noise 0.1 --max_hint_length 64",
    "rft": "",
    "sft_rft": "--demonstration_noise 0.1 --sft_lr 1e-3 --sft_epochs 1",
}
# In its place a pre-trained model on problems of countdown, where KIT_BASE names its folder.
BASE_CELL = (
    "--T 60 --test_freq 10 --save_freq 60 --batch_size 64 --mini_batch_size 64 --n_rollout 8 --lr 1e-5 "
    "--max_prompt_length 320 --max_response_length 256"
)
BASE_METHODS = {"uft": "--T_hint 36 --max_hint_length 256", "rft": "", "sft_rft": "--sft_lr 5e-5 --sft_epochs 2"}
# Of each stage the folders in WORK that it makes, where that is not one of its own name.
MADE = {"data": ("easy",), "untied": ("untied", "untied-run")}
BENCH = "--parts runs --rounds 1 --steps 8 --batch_size 64 --response 512"
DATA = {"n_train": 4096, "n_test": 256, "seed": 0, "sizes": [3], "max_number": 30, "operators": "+-"}


def _run(name: str, algo: str, model: Path, flags: str) -> str:
    return f"python run.py --algo {algo} --model {model} --out {WORK}/{name} {flags} {SHARED}"


def _python(code: str) -> str:
    return f"python -c {shlex.quote('from pathlib import Path; ' + code)}"


def stages(profile: str) -> dict[str, list[str]]:
    """Commands by stage."""
    chosen = f"--profile {profile}"
    qwen = "tiny" if profile == "cpu" else "Qwen2.5-0.5B"
    easy = WORK / "easy"
    pytest = "python -m pytest tests/gpu -q -p no:cacheprovider --durations=0 -k"
    bench = f"python -m bench {chosen} --model {qwen} --out {WORK}"
    random_model = f"from bench.inputs import random_model; random_model({qwen!r}, Path('{WORK}/{qwen}'))"
    untied = f"from tests.e2e.support import wide_model; wide_model(Path('{WORK}/untied'), tied=False)"
    problems = f"from data_prep.countdown.generate import prepare; prepare(Path('{easy}'), **{DATA})"
    main_job = f"{chosen} {MAIN} --max_response_length 64 --data {easy}"
    given_base = os.environ.get("KIT_BASE")
    base = Path(given_base or ROOT / "models/tiny-chain-q40")
    cell = f"{chosen} {BASE_CELL} --data {easy}" if given_base else f"{chosen} {CELL}"
    methods = BASE_METHODS if given_base else METHODS
    return {
        "check": ["python -m tests.gpu.kit.check"],
        "data": [_python(problems)],
        "smoke": [_python(random_model), _run("smoke", "uft", WORK / qwen, f"{chosen} {SMOKE}")],
        "untied": [_python(untied), _run("untied-run", "uft", WORK / "untied", f"{chosen} {UNTIED}")],
        "main": [_run("main", "uft", TINY, main_job)],
        **{name: [f"{pytest} '{chosen_tests}'"] for name, chosen_tests in TESTS.items()},
        "bench": [f"{bench}/bench {BENCH}"],
        **{f"cell_{algo}": [_run(f"cell_{algo}", algo, base, f"{cell} {own}")] for algo, own in methods.items()},
        # Trainer and engine in bfloat16: how far they are apart, and whether weighing by that changes what is learned.
        **{
            f"mismatch_{way}": [_run(f"mismatch_{way}", "uft", TINY, f"{main_job} --rollout_correction {way}")]
            for way in ("none", "token")
        },
        "head": [f"{bench}/head --parts memory"],
    }


def run_stage(name: str, commands: list[str], out: Path, seconds: float) -> dict[str, object]:
    """Run a stage's commands into out/<name>.log within that time; what is left of it is ended, with descendants.
    What an earlier attempt left is removed first: a run refuses the folder of another."""
    started, code = time.monotonic(), 0
    for folder in MADE.get(name, (name,)):
        shutil.rmtree(WORK / folder, ignore_errors=True)
    with (out / f"{name}.log").open("a", encoding="utf-8") as log:
        for command in commands:
            log.write(f"$ {command}\n")
            log.flush()
            words = [sys.executable, *shlex.split(command)[1:]]
            process = psutil.Popen(words, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
            try:
                code = process.wait(max(1.0, seconds - (time.monotonic() - started)))
            except psutil.TimeoutExpired:
                code = 124
                end_processes([process, *process.children(recursive=True)], grace_s=5)
            if code:
                break
    return {"stage": name, "exit_code": code, "seconds": round(time.monotonic() - started, 1)}


def keep(out: Path) -> None:
    """The logs and the small files of the runs as one archive."""
    new = out / "hour.tar.gz.new"
    with tarfile.open(new, "w:gz") as archive:
        for log in sorted(out.glob("*.log")):
            archive.add(log, log.name)
        of_runs = ("*/metrics.jsonl", "*/log.txt", "*/rollouts/*.jsonl", "*/*.yaml", "*/*.json")
        for pattern in (*of_runs, "bench/*", "head/*"):
            for file in sorted(WORK.glob(pattern)):
                archive.add(file, str(file.relative_to(WORK)))
    new.rename(out / "hour.tar.gz")


def note(out: Path, done: list[dict[str, object]]) -> None:
    """Add stages to summary.json, in place of earlier attempts at them."""
    file = out / "summary.json"
    stages_now = {stage["stage"] for stage in done}
    earlier = json.loads(file.read_text()) if file.exists() else []
    kept = [stage for stage in earlier if stage["stage"] not in stages_now]
    new = out / "summary.json.new"
    new.write_text(json.dumps([*kept, *done], indent=1) + "\n")
    new.rename(file)


def main(arguments: list[str]) -> int:
    """Run the stages that were named; returns 1 when one of them failed."""
    flags = argparse.ArgumentParser(prog="python -m tests.gpu.kit.hour", description=__doc__.split("\n\n")[0])
    flags.add_argument("stages", nargs="+")
    flags.add_argument("--out", type=Path, required=True)
    flags.add_argument("--minutes", type=float, default=60)
    flags.add_argument("--profile", default="1x80gb")
    given = flags.parse_args(arguments)
    known = stages(given.profile)
    together = [stage.split("+") for stage in given.stages]
    if unknown := [name for names in together for name in names if name not in known]:
        flags.error(f"{unknown[0]}: unknown. Known: {', '.join(known)}")
    for folder in (given.out, WORK):
        folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * given.minutes
    done: list[dict[str, object]] = []
    for names in together:
        left = end - time.monotonic() - 10
        if left < 20:
            print(f"{'+'.join(names)}: no time left")
            continue
        with ThreadPoolExecutor(len(names)) as pool:
            found = list(pool.map(lambda name: run_stage(name, known[name], given.out, left), names))  # noqa: B023
        for stage in found:
            log = (given.out / f"{stage['stage']}.log").read_text(errors="replace").splitlines(keepends=True)
            print(json.dumps(stage), "".join(log[-LINES:]), sep="\n", flush=True)
        done += found
        note(given.out, found)
        keep(given.out)
    return int(any(stage["exit_code"] for stage in done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
