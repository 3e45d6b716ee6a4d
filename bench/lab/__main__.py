"""`python3 -m bench.lab [flags of run.py --sweep]`: the runs of a sweep in the lab, one after another in one process.

    python3 -m bench.lab --algo uft,rft --data chain --T 80 --T_hint 48 --val_samples 4 --seeds 0,1,2 --out lab/first
A run that is finished is not made again. EXPLORATION: see bench/lab/__init__.py.
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
    from bench.lab.rollouts import Lab
    from bench.lab.train import refuse, run
    from recipes.commands.sweep import planned_sweep
    from recipes.common.errors import ExperimentError
    from recipes.common.run_dir import RunDir, write_text
    from recipes.flags.parser import read
    from recipes.settings.saved import to_yaml

    try:
        flags = {**read(arguments, []).flags}
        for name in ("config", "visible_devices", "eval", "sweep", "reproduce", "pipeline"):
            flags.pop(name)
        _, plan = planned_sweep(flags)
        for planned in plan:
            refuse(planned.experiment)
    except ExperimentError as error:
        print(f"bench.lab: {error}", file=sys.stderr)
        return 2
    # A run is too small for two cores: give each a run of its own.
    torch.set_num_threads(1)
    for planned in plan:
        folder, experiment = RunDir(planned.folder), planned.experiment
        if folder.summary.exists():
            continue
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.experiment, to_yaml(experiment))
        shape, parameters = model.load(Path(experiment.model))
        lab = Lab(experiment, AutoTokenizer.from_pretrained(experiment.model), shape)
        train, test = rows_of(experiment, folder.path / "data")
        run(lab, parameters, train, test, folder.path)
        print(planned.name, folder.summary.read_text(encoding="utf-8"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
