"""`python3 -m bench.lab [flags of run.py --sweep]`: the runs of a sweep in the lab, one after another in one process.

    python3 -m bench.lab --algo uft,rft --data chain --T 80 --T_hint 48 --val_samples 4 --seeds 0,1,2 --out out/lab
A run that is finished is not made again; --dry_run lists the runs. EXPLORATION: see bench/lab/__init__.py.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Make every run of the sweep that is not finished; returns the exit code."""
    if {"--help", "-h"} & {*arguments}:
        from recipes.flags.help_text import help_text

        print(f"{__doc__}\n{help_text(arguments)}")
        return 0
    import torch
    from transformers import AutoTokenizer

    from bench.lab import model
    from bench.lab.data import rows_of
    from bench.lab.planned import planned
    from bench.lab.rollouts import Lab
    from bench.lab.train import refuse, refuse_longer, run
    from recipes.common.errors import ExperimentError
    from recipes.common.run_dir import RunDir, write_text
    from recipes.settings.saved import to_yaml

    try:
        plan, dry_run = planned(arguments)
        for each in plan:
            refuse(each.experiment)
            refuse_longer(RunDir(each.folder), each.experiment)
        models = {name: model.load(Path(name)) for name in sorted({each.experiment.model for each in plan})}
    except (ExperimentError, ValueError) as error:
        print(f"bench.lab: {error}", file=sys.stderr)
        return 2
    if dry_run:
        print(*(each.name + ", finished" * RunDir(each.folder).summary.exists() for each in plan), sep="\n")
        return 0
    # A run is too small for two cores: give each a run of its own.
    torch.set_num_threads(1)
    for each in plan:
        folder, experiment = RunDir(each.folder), each.experiment
        if folder.summary.exists():
            print(f"{each.name} is finished", flush=True)
            continue
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.experiment, to_yaml(experiment))
        shape, parameters = models[experiment.model]
        lab = Lab(experiment, AutoTokenizer.from_pretrained(experiment.model), shape)
        train, test = rows_of(experiment, folder.path / "data")
        run(lab, parameters, train, test, folder.path)
        print(each.name, folder.summary.read_text(encoding="utf-8"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
