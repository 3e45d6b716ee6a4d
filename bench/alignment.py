"""`python -m bench.alignment`: every alignment method on the synthetic set, from the same base, measured the same way.

    python -m bench.alignment --seeds 0,1,2 --out out/alignment --results results/alignment_cpu

does the runs that are not finished, measures every model once, and writes the table. Each run is a run of run.py;
`sft -> dpo` and `sft -> una` start from the weights of the seed's sft run, which is also their reference. ppo and
una_online sample their own answers and get the verifier's reward.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "models/tiny-countdown"
SFT = "sft"
MEASURED = "measured.json"


@dataclass(frozen=True)
class Method:
    """A row of the table: its flags of run.py, and whether it starts from the sft run."""

    name: str
    folder: str
    flags: Mapping[str, Any]
    after_sft: bool = False
    online: bool = False


METHODS = (
    Method("sft", SFT, {"algo": "sft"}),
    Method("dpo", "dpo", {"algo": "dpo"}),
    Method("kto", "kto", {"algo": "kto"}),
    Method("una, labels, BCE", "una-bce", {"algo": "una", "feedback": "binary", "una_loss": "bce"}),
    Method("una, labels, MSE", "una-mse", {"algo": "una", "feedback": "binary", "una_loss": "mse"}),
    Method("una, scores, MSE", "una-score", {"algo": "una", "feedback": "score", "una_loss": "mse"}),
    Method("una_sft", "una_sft", {"algo": "una_sft"}),
    Method("sft -> dpo", "sft-dpo", {"algo": "dpo"}, after_sft=True),
    Method("sft -> una", "sft-una", {"algo": "una", "feedback": "score", "una_loss": "mse"}, after_sft=True),
    Method("ppo", "ppo", {"algo": "ppo"}, online=True),
    Method("una_online", "una_online", {"algo": "una_online"}, online=True),
)


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(prog="python -m bench.alignment", description=(__doc__ or "").split("\n\n")[0])
    flags.add_argument("--seeds", default="0,1,2")
    flags.add_argument("--methods", help=f"comma-separated folders: {', '.join(each.folder for each in METHODS)}")
    flags.add_argument("--n_train", type=int, default=1024, help="problems of the synthetic set")
    flags.add_argument("--T", type=int, default=30, help="steps of ppo and una_online")
    flags.add_argument(
        "--parallel", type=int, default=1, help="runs at a time; with several, their seconds mean little"
    )
    flags.add_argument("--out", type=Path, default=Path("out/alignment"))
    flags.add_argument("--results", type=Path, help="folder for table.md and results.json; default --out")
    return flags


def main(arguments: list[str]) -> int:
    """Do the runs, measure their models, write the table; returns the exit code."""
    from bench.alignment_table import write
    from recipes.commands.sweep import distinct, start

    options = parser().parse_args(arguments)
    known = {each.folder: each for each in METHODS}
    wanted = options.methods.split(",") if options.methods else list(known)
    if unknown := [name for name in wanted if name not in known]:
        print(f"bench.alignment: --methods {unknown[0]}: unknown. Known: {', '.join(known)}.", file=sys.stderr)
        return 2
    seeds = [int(seed) for seed in options.seeds.split(",")]
    methods = [known[name] for name in wanted]
    data = _data(options.out, options.n_train)
    # The second round starts from weights that the first one trains.
    for after_sft in (False, True):
        plan = distinct(
            _planned(each, seed, options, data) for seed in seeds for each in methods if each.after_sft == after_sft
        )
        if plan and (code := start(plan, options.out / "runs", options.parallel)):
            return code
    found = list(_measured(methods, seeds, options, data))
    write(found, options.results or options.out, command="python -m bench.alignment " + " ".join(arguments))
    print(((options.results or options.out) / "table.md").read_text(encoding="utf-8"))
    return 0


def _data(out: Path, n_train: int) -> Path:
    """The synthetic set as a folder of preference data: as a task of run.py it would be evaluated in every run."""
    from data_prep.preference.toy import write_toy

    folder = out / "data"
    if not (folder / "test.parquet").exists():
        write_toy(folder, n_train=n_train)
    return folder


def _run_name(method: Method, seed: int) -> str:
    return f"{method.folder}-s{seed}"


def _planned(method: Method, seed: int, options: argparse.Namespace, data: Path) -> Any:
    from recipes.commands.sweep import planned
    from run import parser as of_run

    model = options.out / "runs" / f"{SFT}-s{seed}" / "hf/last" if method.after_sft else BASE
    flags: dict[str, Any] = {"profile": "cpu", "model": str(model.resolve()), "seed": seed, **method.flags}
    if method.online:
        # Validate only at the beginning and the end, so that the run's cost is that of training.
        flags |= {"data": "countdown", "T": options.T, "test_freq": options.T, "save_freq": options.T}
    else:
        flags |= {"data": str(data), "prompt_style": "completion", "test_freq": 50}
    whole = vars(of_run().parse_args([])) | flags
    for name in ("visible_devices", "eval", "sweep", "reproduce", "pipeline"):
        whole.pop(name, None)
    return planned(options.out / "runs", whole, _run_name(method, seed))


def _measured(
    methods: list[Method], seeds: list[int], options: argparse.Namespace, data: Path
) -> Iterator[dict[str, Any]]:
    """A dictionary per run, the base first; each model is measured once."""
    from bench.alignment_measure import cost, measure
    from recipes.common.run_dir import write_json

    runs = [(each, seed, options.out / "runs" / _run_name(each, seed)) for each in methods for seed in seeds]
    missing = [folder for _, _, folder in runs if not (folder / MEASURED).exists()]
    print(f"measuring {len(missing)} models", flush=True)
    measured = partial(measure, base=BASE, data=data)
    with ProcessPoolExecutor(options.parallel, mp_context=multiprocessing.get_context("spawn")) as processes:
        results = processes.map(measured, [folder / "hf/last" for folder in missing])
        for folder, found in zip(missing, results, strict=True):
            write_json(folder / MEASURED, asdict(found))
    yield {"method": "base", "seed": None, **asdict(measure(BASE, BASE, data))}
    for method, seed, folder in runs:
        spent = cost(folder)
        if method.after_sft:
            spent = spent.after(cost(options.out / "runs" / f"{SFT}-s{seed}"))
        found = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
        yield {"method": method.name, "seed": seed, **found, **asdict(spent)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
