"""The runs of a first hour on one GPU, in order of worth, each with its log, seconds and exit code.

    python -m tests.gpu.kit.hour --out results/gpu --minutes 9 check smoke+untied+main tests_first

Stages joined by + run side by side; each run then has a small cache of its own, so that none counts another's memory.
A stage that fails stops no other one. What is there after every stage lies in --out/hour.tar.gz and summary.json, so
that a command which is ended at a time limit loses the stage it was in and nothing else.
"""

import argparse
import json
import os
import shlex
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
EASY = WORK / "easy"
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
# A pre-trained model (KIT_BASE names its folder), several methods beside each other.
CELL = (
    "--T 60 --T_hint 36 --batch_size 64 --mini_batch_size 64 --n_rollout 8 --lr 1e-5 --test_freq 10 --save_freq 60 "
    "--max_hint_length 256 --max_response_length 256 --sft_lr 5e-5 --sft_epochs 2 --max_prompt_length 320"
)
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
    base = Path(os.environ.get("KIT_BASE", TINY))
    pytest = "python -m pytest tests/gpu -q -p no:cacheprovider --durations=0 -k"
    bench = f"python -m bench {chosen} --out {WORK}/bench --model {qwen}"
    random_model = f"from bench.inputs import random_model; random_model({qwen!r}, Path('{WORK}/{qwen}'))"
    untied = f"from tests.e2e.support import wide_model; wide_model(Path('{WORK}/untied'), tied=False)"
    easy = f"from data_prep import countdown; countdown.prepare(Path('{EASY}'), **{DATA})"
    cell = f"{chosen} {CELL} --data {EASY}"
    return {
        "check": ["python -m tests.gpu.kit.check"],
        "data": [_python(easy)],
        "smoke": [_python(random_model), _run("smoke", "uft", WORK / qwen, f"{chosen} {SMOKE}")],
        "untied": [_python(untied), _run("untied-run", "uft", WORK / "untied", f"{chosen} {UNTIED}")],
        "main": [_run("main", "uft", TINY, f"{chosen} {MAIN} --max_response_length 64 --data {EASY}")],
        **{name: [f"{pytest} '{chosen_tests}'"] for name, chosen_tests in TESTS.items()},
        "bench": [f"{bench} {BENCH}"],
        "head": [f"{bench} --parts memory"],
        **{f"cell_{algo}": [_run(f"cell_{algo}", algo, base, cell)] for algo in ("uft", "rft", "sft_rft")},
    }


def run_stage(name: str, commands: list[str], out: Path, seconds: float) -> dict[str, object]:
    """Run a stage's commands into out/<name>.log within that time; what is left of it is ended, with descendants."""
    started, code = time.monotonic(), 0
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
        for pattern in ("*/metrics.jsonl", "*/log.txt", "*/rollouts/*.jsonl", "*/*.yaml", "*/*.json", "bench/*"):
            for file in sorted(WORK.glob(pattern)):
                archive.add(file, str(file.relative_to(WORK)))
    new.rename(out / "hour.tar.gz")


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
        (given.out / "summary.json").write_text(json.dumps(done, indent=1) + "\n")
        keep(given.out)
    return int(any(stage["exit_code"] for stage in done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
