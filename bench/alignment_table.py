"""results.json, table.md and alignment.png of `python -m bench.alignment`."""

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bench.alignment_picture import draw
from eval.reporting.cells import Table, markdown
from recipes.common.run_dir import write_json, write_text

_ONLINE = ("ppo", "una_online")

Runs = list[dict[str, Any]]
Columns = dict[str, Callable[[Runs], str]]
_READING = """\
Mean over seeds; +- is the standard deviation over seeds, of runs and data order, not of problems. **right**: greedy
answers to 256 held-out problems that are right. **score**, **reward**: 1,024 answers drawn at temperature 1, by the
true score of the synthetic set (0 to 1) and by the verifier's reward (1 right, 0.1 readable). **KL**: of an answer, in
nats, to the base model, from the same answers. **pairs**: held-out pairs whose better answer gained more likelihood
than the worse one. **forgetting**: by how many nats a token texts of the base's own pre-training distribution became
less likely. **instructions**: nats a token of held-out worked solutions of another kind of problem. **training**:
seconds in training steps; **all**: with start-up (Ray, vLLM) and saving; `a -> b` counts both runs. Seconds are the
least of the seeds: other work on the machine only adds to them."""


def write(found: Sequence[dict[str, Any]], out: Path, command: str) -> None:
    """Write the three files to `out`."""
    names = ("torch", "trl", "transformers", "verl", "vllm")
    installed = {name: version(name) for name in names}
    about = {"command": command, "cores": os.cpu_count(), "versions": installed}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", {**about, "runs": list(found)})
    versions = ", ".join(f"{name} {number}" for name, number in installed.items())
    head = f"# Alignment on the synthetic set\n\n`{command}`\n\n{about['cores']} CPU cores; {versions}."
    parts = [head, markdown(_quality(found)), _READING]
    if any(row["method"] in _ONLINE for row in found):
        parts += ["## una_online beside ppo", markdown(_online(found))]
    write_text(out / "table.md", "\n\n".join(parts) + "\n")
    draw(found, out / "alignment.png")


def _quality(found: Sequence[dict[str, Any]]) -> Table:
    columns: Columns = {
        "seeds": lambda rows: str(len(rows)) if rows[0]["seed"] is not None else "",
        "right": lambda rows: _spread(rows, "accuracy", "{:.1%}"),
        "score": lambda rows: _spread(rows, "sampled_score", "{:.3f}"),
        "reward": lambda rows: _spread(rows, "sampled_reward", "{:.3f}"),
        "KL": lambda rows: _spread(rows, "kl", "{:.2f}"),
        "pairs": lambda rows: _spread(rows, "pairs_ranked", "{:.1%}"),
        "forgetting": lambda rows: _spread(rows, "forgetting", "{:.3f}"),
        "instructions": lambda rows: _spread(rows, "instruction_nll", "{:.3f}"),
        "training": lambda rows: _least(rows, "training_seconds", "{:.0f} s"),
        "all": lambda rows: _least(rows, "seconds", "{:.0f} s"),
        "peak memory": _memory,
    }
    return _table(found, columns)


def _online(found: Sequence[dict[str, Any]]) -> Table:
    columns: Columns = {
        "seconds per step": lambda rows: _least(rows, "step_seconds", "{:.2f}"),
        "training": lambda rows: _least(rows, "training_seconds", "{:.0f} s"),
        "peak memory": _memory,
        "reward": lambda rows: _spread(rows, "sampled_reward", "{:.3f}"),
        "KL": lambda rows: _spread(rows, "kl", "{:.2f}"),
    }
    return _table([row for row in found if row["method"] in _ONLINE], columns)


def _table(found: Sequence[dict[str, Any]], columns: Columns) -> Table:
    by_method: dict[str, Runs] = {}
    for row in found:
        by_method.setdefault(row["method"], []).append(row)
    rows = tuple((name, *(cell(group) for cell in columns.values())) for name, group in by_method.items())
    return Table(("method", *columns), rows)


def _spread(rows: Runs, key: str, form: str) -> str:
    values = [row[key] for row in rows]
    mean = form.format(fmean(values))
    return f"{mean} +- {form.format(stdev(values)).rstrip('%')}" if len(values) > 1 else mean


def _least(rows: Runs, key: str, form: str) -> str:
    return form.format(min(row[key] for row in rows)) if key in rows[0] else ""


def _memory(rows: Runs) -> str:
    return f"{max(row['peak_memory_bytes'] for row in rows) / 2**30:.2f} GiB" if "peak_memory_bytes" in rows[0] else ""
