"""Alignment rows as token ids, exactly as a rollout would see them, and the row order of a run.

Prompt and completion are encoded separately; the completion ends with the end-of-text token.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_prep.preference import views
from data_prep.preference.schema import Row, read_rows
from data_prep.prompt_styles import default_template
from data_prep.schema import IN_SET
from data_prep.split import chosen_rows
from data_prep.tokens import closed, encode_question, opened, plain_template
from recipes.common.errors import ExperimentError
from recipes.trl_plugin.plan import TrainingPlan, alignment_items, training_items

# A row as TRL's collators expect it: {"prompt_ids", "chosen_ids", "rejected_ids"} for a pair, {"input_ids", "labels"}
# for sft, {"prompt_ids", "completion_ids", "label"} otherwise.
Example = dict[str, Any]
Encode = Callable[[list[dict[str, str]], str], tuple[list[int], list[int]]]

IGNORED = -100


@dataclass(frozen=True)
class Examples:
    """Rows ready for training."""

    rows: list[Example]
    left_out: dict[str, int]
    """How many rows of the file were skipped, by reason."""


def encoder(plan: TrainingPlan, tokenizer: Any) -> Encode:
    """(prompt messages, completion) -> (prompt ids, completion ids with the end-of-text token).

    Raises:
        ExperimentError: for the chat style if the model has no chat template.
    """
    template = default_template(tokenizer.chat_template) if plan.prompt_style == "chat" else plain_template(tokenizer)
    if not template:
        raise ExperimentError(
            f"--prompt_style chat: the tokenizer of {plan.model} has no chat template; use --prompt_style completion "
            "(for base models) or an instruct model"
        )

    def encode(prompt: list[dict[str, str]], completion: str) -> tuple[list[int], list[int]]:
        thought = opened(tokenizer, prompt, chat_template=template)
        return encode_question(tokenizer, prompt, chat_template=template), closed(tokenizer, completion, thought)

    return encode


def load_training(plan: TrainingPlan, encode: Encode) -> Examples:
    """The training file's rows for the plan's method."""
    items = training_items(plan, read_rows(Path(plan.train_file)))
    found = [example(plan, item, encode) for item in items]
    limit, longest = plan.alignment.max_length, plan.alignment.max_prompt_length
    short = [row for row in found if longest is None or prompt_length(row) <= longest]
    kept = [row for row in short if length(row) <= limit]
    left_out = dict(items.left_out)
    if len(short) < len(found):
        left_out[f"prompt longer than {longest} tokens"] = len(found) - len(short)
    if len(kept) < len(short):
        left_out[f"longer than {limit} tokens"] = len(short) - len(kept)
    if found and not short:
        raise ExperimentError(f"no prompt of {plan.train_file} fits in {longest} tokens; raise --max_prompt_length")
    if found and not kept:
        raise ExperimentError(f"no row of {plan.train_file} fits in {limit} tokens; raise --max_length")
    return Examples(kept, left_out)


def example(plan: TrainingPlan, item: dict[str, Any], encode: Encode) -> Example:
    """One item of a view, encoded."""
    if plan.pairwise:
        prompt, chosen = encode(item["prompt"], item["chosen"])
        return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": encode(item["prompt"], item["rejected"])[1]}
    prompt, completion = encode(item["prompt"], item["completion"])
    if plan.method == "sft":
        return {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
    # TRL's KTO takes a bool for good or bad; UNA's target is the score.
    label = item["score"] > 0.5 if plan.method == "kto" else item["score"]
    return {"prompt_ids": prompt, "completion_ids": completion, "label": label}


def length(row: Example) -> int:
    """Tokens of the prompt plus the longest completion."""
    if "input_ids" in row:
        return len(row["input_ids"])
    completions = [row[name] for name in ("completion_ids", "chosen_ids", "rejected_ids") if name in row]
    return len(row["prompt_ids"]) + max(map(len, completions))


def prompt_length(row: Example) -> int:
    """Tokens of the prompt alone."""
    return len(row["prompt_ids"]) if "prompt_ids" in row else row["labels"].count(IGNORED)


def run_order(n_rows: int, positions: int, seed: int) -> list[int]:
    """The row index at each position of the run: one shuffled epoch after another.

    A pure function of its arguments: optimiser step s always consists of the positions from s * batch_size on, however
    the batch is split into micro-batches and devices, and a longer run starts with the shorter one.
    """
    order: list[int] = []
    epoch = 0
    while len(order) < positions:
        draw = random.Random(f"order {seed} {epoch}")
        # Sorted by random() instead of shuffle(): only random() is guaranteed to be stable across Python versions.
        order += [row for _, row in sorted((draw.random(), row) for row in range(n_rows))]
        epoch += 1
    return order[:positions]


@dataclass(frozen=True)
class HeldOut:
    """The rows of a validation."""

    pairs: list[tuple[int, int]]
    """(better, worse) answers to one prompt, as positions in `completions`."""

    scored: list[tuple[int, float]]
    """(position in `completions`, target) of the method's own rows; none for pairwise feedback and sft."""

    instructions: list[int]
    """Positions in `completions`."""

    completions: list[tuple[list[int], list[int]]]
    """All distinct (prompt ids, completion ids)."""

    sets: dict[str, "HeldOut"] = field(default_factory=dict)
    """With several validation sets: each by its name, with positions in the same completions."""


def load_held_out(plan: TrainingPlan, encode: Encode) -> HeldOut:
    """The test file's rows, at most plan.val_size of each kind; rows too long for training are skipped.

    With several validation sets, named in data_source, each set's own metrics use at most that many of its rows.
    """
    rows = read_rows(Path(plan.test_file))
    completions: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}

    def position(prompt: list[dict[str, str]], completion: str) -> int | None:
        prompt_ids, completion_ids = encode(prompt, completion)
        longest = plan.alignment.max_prompt_length
        if len(prompt_ids) + len(completion_ids) > plan.alignment.max_length:
            return None
        if longest is not None and len(prompt_ids) > longest:
            return None
        return completions.setdefault((tuple(prompt_ids), tuple(completion_ids)), len(completions))

    sets: dict[str, list[Row]] = {}
    for row in rows:
        if name := row["data_source"].partition(IN_SET)[2]:
            sets.setdefault(name, []).append(row)
    members = [_members(plan, of, position) for of in (rows, *sets.values())]
    distinct = [(list(prompt), list(completion)) for prompt, completion in completions]
    all_rows, *each = (HeldOut(*found, completions=distinct) for found in members)
    return replace(all_rows, sets=dict(zip(sets, each, strict=True)))


def _members(
    plan: TrainingPlan, rows: list[Row], position: Callable[[list[dict[str, str]], str], int | None]
) -> tuple[list[tuple[int, int]], list[tuple[int, float]], list[int]]:
    """(pairs, scored, instructions) of a HeldOut with these rows."""

    def chosen(items: list[Any]) -> list[Any]:
        return [items[row] for row in chosen_rows(len(items), plan.val_size)]

    pairs: list[tuple[int, int]] = []
    scored: list[tuple[int, float]] = []
    if plan.method != "sft":
        for pair in chosen(views.pairs(rows)):
            better, worse = position(pair["prompt"], pair["chosen"]), position(pair["prompt"], pair["rejected"])
            if better is not None and worse is not None:
                pairs.append((better, worse))
        if not plan.pairwise:
            for item in chosen(alignment_items(plan, rows)):
                if (at := position(item["prompt"], item["completion"])) is not None:
                    scored.append((at, item["score"]))
    taught = [position(item["prompt"], item["completion"]) for item in chosen(views.instructions(rows))]
    return pairs, scored, [at for at in taught if at is not None]
