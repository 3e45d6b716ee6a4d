"""What the tests of offline alignment share: small rows, plans, and the gradient of one optimiser step."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.preference.schema import write_rows
from recipes.settings.alignment import Alignment
from recipes.trl_plugin.plan import TrainingPlan

BATCH = 8
ALIGNMENT = Alignment(
    feedback="score",
    una_loss="mse",
    una_target="sigmoid",
    beta=0.3,
    lr=1e-3,
    epochs=1.0,
    batch_size=BATCH,
    micro_batch_size=BATCH,
    max_length=128,
    sft_ratio=0.0,
    lora_alpha=16,
    lora_dropout=0.0,
    load_in_4bit=False,
    precompute_ref=False,
)


def small_rows(split: str, n: int) -> list[dict[str, Any]]:
    """n prompts with three answers of different length and score each, and n instructions."""
    draw = random.Random(split)
    rows: list[dict[str, Any]] = []
    for number in range(n):
        a, b = draw.randint(1, 40), draw.randint(1, 40)
        prompt = [{"role": "user", "content": f"Using {a} and {b}, make {a + b}. "}]
        shared = {"prompt": prompt, "data_source": "test", "extra_info": {"index": number, "split": split}}
        answers = [(f"{a} + {b} = {a + b}", 1.0), (f"{a} - {b}" + " + 1" * draw.randint(0, 4), 0.375), ("hm", 0.125)]
        for text, score in answers:
            rows.append({**shared, "completion": text, "score": score, "feedback": "score", "group": f"g{number}"})
        taught = [{"role": "user", "content": f"What is {a} times {b}? "}]
        rows.append(
            {
                **shared,
                "prompt": taught,
                "completion": f"It is {a * b}.",
                "score": 1.0,
                "feedback": "instruction",
                "group": f"i{number}",
            }
        )
    return rows


def plan(folder: Path, model: Path, method: str, *, n: int = 24, alignment: Any = None, **changes: Any) -> TrainingPlan:
    """A plan over `n` prompts, whose files are written into `folder`."""
    for split, count in (("train", n), ("test", 4)):
        if not (folder / f"{split}.parquet").exists():
            write_rows(folder / f"{split}.parquet", small_rows(split, count))
    basis = TrainingPlan(
        method=method,  # type: ignore[arg-type]
        model=str(model),
        train_file=str(folder / "train.parquet"),
        test_file=str(folder / "test.parquet"),
        run_dir=str(folder / "run"),
        device="cpu",
        devices=1,
        dtype="float32",
        seed=3,
        lora_rank=0,
        alignment=replace(ALIGNMENT, **(alignment or {})),
        prompt_style="completion",
        test_freq=2,
        save_freq=2,
        val_size=-1,
        keep_checkpoints=2,
        logger=("console",),
        resume_from=None,
    )
    return replace(basis, **changes)
