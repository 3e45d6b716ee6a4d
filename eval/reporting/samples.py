"""What the models wrote: a few training rollouts (with the hint marked) and validation answers of a run, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.reporting.cells import text
from eval.reporting.read_runs import Run, answers_at, read_lines, recorded_steps
from recipes.common.run_dir import RunDir

_LONGEST = 4000
_ANSWERS = 2


def samples_of(run: Run, label: str) -> str:
    """A collapsible section of the page on one run; empty if it kept no texts."""
    folder = RunDir(run.folder).rollouts
    parts = []
    for step in first_middle_last(recorded_steps(folder)):
        rows = read_lines(folder / f"{step}.jsonl")
        chosen = _highest_and_lowest(rows)
        if chosen:
            parts.append(f"<h4>training, step {step}: {len(chosen)} of {len(rows)} kept rollouts</h4>")
            parts += [_rollout(title, row) for title, row in chosen]
    step, answers = answers_at(run)
    for title, right in (("right", True), ("not right", False)):
        some = [row for row in answers if bool(row.get("acc")) is right]
        if some:
            share = f"{len(some)} of {len(answers)}"
            parts.append(f"<h4>validation, step {step}: {share} answers are {title}</h4>")
            parts += [_rollout("", {"prompt": row.get("input"), **row}) for row in some[:_ANSWERS]]
    if not parts:
        return ""
    return f"<details><summary>{text(label)}</summary>{''.join(parts)}</details>"


def first_middle_last(steps: Sequence[int]) -> list[int]:
    """Up to three of the steps."""
    return sorted({steps[0], steps[len(steps) // 2], steps[-1]}) if steps else []


def _highest_and_lowest(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The first rollout with the highest and the first with the lowest reward; one if all are equal."""
    scored = [row for row in rows if isinstance(row.get("score"), (int, float))]
    if not scored:
        return []
    high = max(scored, key=lambda row: row["score"])
    low = min(scored, key=lambda row: row["score"])
    if high["score"] == low["score"]:
        return [("all have the same reward", high)]
    return [("highest reward", high), ("lowest reward", low)]


def _rollout(title: str, row: Mapping[str, Any]) -> str:
    facts = [title] if title else []
    if isinstance(row.get("score"), (int, float)):
        facts.append(f"reward {row['score']:g}")
    if row.get("n_segments"):
        part = (
            f"{row['given']:.0%} of the solution"
            if "given" in row
            else f"{row.get('length')} of {row['n_segments']} segments"
        )
        facts.append(f"hint {part}, {row.get('hint_tokens')} tokens")
    if "gen_tokens" in row or "tokens" in row:
        facts.append(f"{row.get('gen_tokens', row.get('tokens'))} tokens written")
    facts += [name for key, name in _FLAGS.items() if row.get(key)]
    facts.append(f"read as: {row['pred']}" if row.get("pred") else "nothing read")
    hint = f'<span class="hint">{_clipped(row["hint"])}</span>' if row.get("hint") else ""
    return (
        f'<figure class="sample"><figcaption>{text("; ".join(facts))}</figcaption>'
        f"<details><summary>prompt</summary><pre>{_clipped(row.get('prompt'))}</pre></details>"
        f"<pre>{hint}{_clipped(row.get('output'))}</pre></figure>"
    )


_FLAGS = {
    "truncated": "cut off",
    "parse_fail": "not readable",
    "reward_error": "scoring failed",
    "timeout": "timed out",
}


def _clipped(value: Any) -> str:
    words = value if isinstance(value, str) else ""
    left = len(words) - _LONGEST
    return text(words) if left <= 0 else f"{text(words[:_LONGEST])} <em>({left} more characters)</em>"
