"""`python -m bench`: what unified fine-tuning costs over plain GRPO on this machine, measured side by side.

    python -m bench --rounds 3                             the embedded model's shape (the only one for a CPU)
    python -m bench --model Qwen2.5-0.5B --profile h100x2  random weights of a real shape

Writes bench.json, table.md and bench.png to --out. Every run is a real one; variants are interleaved, so that other
load on the machine affects all of them alike.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

PARTS = ("runs", "scaling", "memory")


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n\n")[0])
    flags.add_argument("--model", default="tiny", help="tiny, or a name of recipes/estimate/model_shapes.py")
    flags.add_argument("--profile", help="hardware profile; default: detected")
    flags.add_argument("--parts", default=",".join(PARTS), help=f"comma-separated: {', '.join(PARTS)}")
    flags.add_argument("--rounds", type=int, default=3, help="runs of every variant")
    flags.add_argument("--steps", type=int, default=12, help="steps per run")
    flags.add_argument("--batch_size", type=int, default=16, help="prompts per step")
    flags.add_argument("--n_rollout", type=int, default=4)
    flags.add_argument("--response", type=int, default=64, help="tokens per response, hint and generation together")
    flags.add_argument("--limit_minutes", type=float, default=30, help="time limit per run")
    flags.add_argument("--out", type=Path, default=Path("results/bench"))
    return flags


def main(arguments: list[str]) -> int:
    """Measure and write; returns the exit code. Results are written after every run."""
    from bench import head_memory
    from bench.inputs import random_model
    from bench.report import write
    from bench.runs import VARIANTS, Size, measure
    from recipes.common.machine import gpu_count
    from recipes.flags.resolve import default_profile

    if not arguments:
        # A benchmark keeps every core busy for a long time: it has to be asked for.
        parser().print_help(sys.stderr)
        return 2
    flags = parser().parse_args(arguments)
    parts = flags.parts.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        print(f"bench: --parts {unknown[0]}: unknown. Known: {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    profile = default_profile(gpu_count(), flags.profile)
    found: dict[str, Any] = {
        "command": "python -m bench " + " ".join(arguments),
        "model": flags.model,
        "profile": profile.name,
        "device": _device(profile.device),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("verl", "torch", "vllm", "transformers", "ray")},
        "runs": [],
        "scaling": [],
    }
    size = Size(flags.batch_size, flags.n_rollout, flags.response, flags.steps)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        work = Path(scratch)
        if "memory" in parts:
            shape = flags.model if profile.device == "cuda" else "Qwen2.5-0.5B"
            lengths = {"rows": 2, "prompt": 64, "hint": 64, "response": 192}
            found["memory"] = head_memory.measure(shape, device=profile.device, **lengths)
            write(found, flags.out)
        todo = [("runs", variant, size) for _ in range(flags.rounds) for variant in VARIANTS if "runs" in parts]
        if "scaling" in parts:
            todo += [("scaling", variant, each) for each in _sizes(size) for variant in (VARIANTS[1], VARIANTS[2])]
        model = random_model(flags.model, work / "model") if todo else None
        for number, (part, variant, each) in enumerate(todo, 1):
            load = os.getloadavg()[0]
            print(f"{number} of {len(todo)}: {variant.name}, {asdict(each)}", flush=True)
            folder = work / f"run-{number}"
            assert model is not None
            result = measure(
                variant, each, profile=profile.name, model=model, folder=folder, limit_s=60 * flags.limit_minutes
            )
            found[part].append({**asdict(result), "load_before": load, "time": time.time()})
            print(json.dumps(result.seconds), flush=True)
            write(found, flags.out)
    print((flags.out / "table.md").read_text())
    return 0


def _sizes(size: Any) -> list[Any]:
    """The size, and it with each dimension halved and doubled."""
    changes = [
        {name: round(getattr(size, name) * by)} for name in ("batch", "response", "n_rollout") for by in (0.5, 2)
    ]
    return [size, *(replace(size, **change) for change in changes)]


def _device(device: str) -> str:
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name(0))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "CPU")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
