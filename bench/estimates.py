"""`python -m bench.estimates --out results/estimates_cpu`: memory as estimated by --dry_run, and as used by real runs.

Each run does two steps with random weights of a published shape; its processes are sampled twice per second. Results
already in --out are kept, so that the command resumes where it was stopped.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.inputs import ROOT, random_model
from eval.reporting.cells import Table, markdown
from recipes.common.run_dir import write_json, write_text
from recipes.watch.processes import end_processes, memory_of, processes_of

TINY, MIDDLE = "models/tiny-countdown", "HuggingFaceTB/SmolLM2-135M"
# Random weights write until they are stopped, so rollouts are as long as allowed, which is what the estimate assumes.
_LENGTHS = "--max_prompt_length 16 --max_response_length 64"
_RL = (
    f"--data countdown --T 2 --test_freq 2 --val_size 8 --own_texts 0 --max_parse_fail_rate 1 --n_rollout 4 {_LENGTHS}"
)
_SHORT = "--val_size 8 --own_texts 0 --max_prompt_length 16 --max_hint_length 8 --max_response_length 24"
_ANSWERS = "--data countdown_preference --n_train 16 --test_freq 2 --val_size 8 --own_texts 0 --max_length 48"


@dataclass(frozen=True)
class Case:
    """A run to measure."""

    name: str
    model: str
    flags: str

    @property
    def command(self) -> str:
        return f"python3 run.py --profile cpu --model {self.model} {self.flags}"


CASES = (
    Case("uft", TINY, f"--algo uft --T_hint 1 --max_hint_length 32 {_RL}"),
    Case("ppo, a critic", TINY, f"--algo ppo {_RL}"),
    Case("uft", MIDDLE, f"--algo uft --T_hint 1 --max_hint_length 32 {_RL} --batch_size 4"),
    Case("ppo, a critic", MIDDLE, f"--algo ppo {_RL} --batch_size 4"),
    Case("rft, adapters", MIDDLE, f"--algo rft --lora_rank 8 {_RL} --batch_size 4"),
    Case("sft", MIDDLE, f"--algo sft --data countdown --n_train 32 --batch_size 16 --epochs 1 {_SHORT}"),
    Case("dpo", MIDDLE, f"--algo dpo {_ANSWERS} --batch_size 8 --micro_batch_size 4"),
    Case("dpo, adapters", MIDDLE, f"--algo dpo --lora_rank 8 {_ANSWERS} --batch_size 8 --micro_batch_size 4"),
)


@dataclass(frozen=True)
class Measured:
    """The peak memory of all processes of a run together, in bytes, and how long it took."""

    command: str
    peak: int
    seconds: float


def measure(case: Case, folder: Path, out: Path) -> Measured:
    """Run a case to its end. Raises RuntimeError with the end of its log if it fails."""
    model = case.model if case.model == TINY else str(random_model(case.model.partition("/")[2], folder / "random"))
    command = [sys.executable, *shlex.split(case.command)[1:], "--out", str(out)]
    command[command.index(case.model)] = model
    shutil.rmtree(out, ignore_errors=True)  # a run that was stopped, or of other flags
    out.parent.mkdir(parents=True, exist_ok=True)
    began, peak = time.time(), 0
    with out.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)
        try:
            while process.poll() is None:
                time.sleep(0.5)
                peak = max(peak, memory_of(processes_of(out, {process.pid})))
        finally:
            # After its end its pid may be another process's.
            end_processes(processes_of(out, {process.pid} if process.poll() is None else set()), 5)
    if process.returncode:
        said = out.with_suffix(".log").read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise RuntimeError(f"{case.name} of {case.model} ended with {process.returncode}:\n" + "\n".join(said))
    return Measured(case.command, peak, time.time() - began)


def estimated(case: Case) -> float:
    """The peak, in bytes, that --dry_run of a case reports."""
    from recipes.commands.train import plan_training
    from recipes.estimate.memory import estimate_memory
    from recipes.estimate.model_shapes import known_shape
    from recipes.flags.parser import read

    _, experiment = plan_training(read(shlex.split(case.command)[2:], ()).flags)
    shape = known_shape(experiment.model)
    assert shape is not None
    return estimate_memory(experiment, shape).peak


def table(found: list[Measured]) -> str:
    """Markdown, a row per run."""
    known = {case.command: case for case in CASES}
    rows = []
    for each in found:
        case = known[each.command]
        expected = estimated(case)
        sizes = (f"{expected / 1e9:.1f}", f"{each.peak / 1e9:.1f}", f"{expected / each.peak - 1:+.0%}")
        rows.append((case.name, case.model, *sizes, f"{each.seconds:.0f}"))
    return markdown(Table(("run", "model", "estimate, GB", "measured, GB", "error", "seconds"), tuple(rows))) + "\n"


def main(arguments: list[str]) -> None:
    """Measure what has not been measured yet, and write measured.json and table.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimates", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/estimates"), help="folder for models and runs")
    options = parser.parse_args(arguments)
    file, work = options.out / "measured.json", options.work.resolve()
    known = {each["command"]: each for each in json.loads(file.read_text())} if file.exists() else {}
    found = []
    for number, case in enumerate(CASES):
        earlier = known.get(case.command)
        found.append(Measured(**earlier) if earlier else measure(case, work / "models", work / f"runs/{number}"))
        write_json(file, [asdict(one) for one in found])
        print(table(found[-1:]), flush=True)
    write_text(options.out / "table.md", table(found))


if __name__ == "__main__":
    main(sys.argv[1:])
