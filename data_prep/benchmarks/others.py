"""The usual mathematics benchmarks for evaluation only: AIME, AMC, MATH-500, Minerva, OlympiadBench, GSM8K.
`python -m data_prep others --from-hub` (or --from DIR with a file per benchmark) writes test.parquet, no train file.

Example row: data_source "aime24", hint [], answer " </think>\\n<answer> 204 </answer>", ground_truth {"target": "204"}.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.files.tables import ENDINGS, read_table
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, SchemaError, build_row, read_rows, write_rows
from reward_fns.math.equal import check_gold

EXAMPLE = "12"


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark is and what its rows look like. rows: the known numbers of rows, the usual one first."""

    name: str
    title: str
    hub: str
    split: str
    question: str
    answer: str
    rows: tuple[int, ...]
    source: str
    config: str | None = None


BENCHMARKS = (
    Benchmark(
        "aime24", "AIME 2024", "HuggingFaceH4/aime_2024", "train", "problem", "answer", (30,), "AIME I and II of 2024"
    ),
    Benchmark("aime25", "AIME 2025", "math-ai/aime25", "test", "problem", "answer", (30,), "AIME I and II of 2025"),
    Benchmark(
        "amc",
        "AMC",
        "AI-MO/aimo-validation-amc",
        "train",
        "problem",
        "answer",
        (83, 40),
        "AMC 12 of 2022 and 2023 with whole-number answers, as in UFT; the 40 of AMC 2023 (math-ai/amc23) also fit",
    ),
    Benchmark(
        "math500",
        "MATH-500",
        "HuggingFaceH4/MATH-500",
        "test",
        "problem",
        "answer",
        (500,),
        "500 problems of the MATH test split, all levels; 99 of them are in UFT's math test file",
    ),
    Benchmark(
        "minerva",
        "Minerva",
        "math-ai/minervamath",
        "test",
        "question",
        "answer",
        (272,),
        "undergraduate science; many answers are rounded numbers, which are compared as written",
    ),
    Benchmark(
        "olympiad_bench",
        "OlympiadBench",
        "Hothan/OlympiadBench",
        "train",
        "question",
        "final_answer",
        (675, 674),
        "open-ended English mathematics without pictures; UFT's file has 675 rows, the hub's 674",
        "OE_TO_maths_en_COMP",
    ),
    Benchmark(
        "gsm8k",
        "GSM8K",
        "openai/gsm8k",
        "test",
        "question",
        "answer",
        (1319,),
        "grade school word problems; the answer follows #### in the solution",
        "main",
    ),
)
BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}

# The names of the same sets in the UFT repository's mixed evaluation file.
UFT_NAMES = {"openai/gsm8k": "gsm8k", "DigitalLearningGmbH/MATH-lighteval": "math", "aime": "aime24"}


def load(benchmark: Benchmark, folder: Path | None = None) -> list[Row]:
    """All rows of a benchmark, from folder/<name>.jsonl (.parquet, .json, .csv) or, without a folder, from the hub.

    ValueError names file, row and column of the first row without a question or with an unusable gold answer: an
    evaluation must not shrink silently.
    """
    source = benchmark.hub if folder is None else str(_file(benchmark, folder))
    columns = (benchmark.question, benchmark.answer)
    items = read_table(source, benchmark.split, columns, benchmark.config)
    return [_row(benchmark, item, number, f"{source}, row {number}") for number, item in enumerate(items)]


def _file(benchmark: Benchmark, folder: Path) -> Path:
    for ending in ENDINGS:
        if (path := folder / f"{benchmark.name}{ending}").is_file():
            return path
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; it must contain a file per benchmark, such as aime24.jsonl")
    raise ValueError(f"{folder}: no {benchmark.name} with one of the endings {', '.join(ENDINGS)}")


def _row(benchmark: Benchmark, item: Mapping[str, Any], index: int, where: str) -> Row:
    question = item.get(benchmark.question)
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{where}, column {benchmark.question}: must be text, got {question!r:.80}")
    gold = gold_text(item.get(benchmark.answer))
    try:
        check_gold(gold)
    except ValueError as error:
        raise ValueError(f"{where}, column {benchmark.answer}: {error}") from None
    return build_row(
        prompt=completion_prompt(Question(question, EXAMPLE)),
        hint=[],
        final_answer=gold,
        data_source=benchmark.name,
        ability="math",
        ground_truth={"target": gold},
        index=index,
        split="test",
    )


def gold_text(value: Any) -> str:
    """The gold answer in a benchmark's answer cell: 142.0 -> "142", ["1", "2"] -> "1,2", "... #### 18" -> "18"."""
    if isinstance(value, list):
        return ",".join(gold_text(part) for part in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value if value is not None else "").rpartition("####")[2].strip()


def load_uft(path: Path) -> list[Row]:
    """The rows of the UFT repository's others/test.parquet with our names of the data sources and empty hints as [].

    This includes its countdown and MATH rows. ValueError names file, row and column of an unusable row.
    """
    rows = read_rows(path)
    for number, row in enumerate(rows):
        row["data_source"] = UFT_NAMES.get(row["data_source"], row["data_source"])
        row["hint"] = [segment for segment in row["hint"] if segment]
        if row["data_source"] == "countdown":
            continue
        try:
            check_gold(row["reward_model"]["ground_truth"]["target"])
        except (ValueError, KeyError, TypeError) as error:
            raise SchemaError(f"{path}, row {number}, column reward_model: {error}") from None
    return rows


def collect(folder: Path | None, names: Collection[str]) -> tuple[list[Row], list[str]]:
    """The rows of the named benchmarks in order, and a warning for each with an unusual number of rows."""
    rows: list[Row] = []
    warnings = []
    for name in names:
        benchmark = BY_NAME[name]
        loaded = load(benchmark, folder)
        if len(loaded) not in benchmark.rows:
            warnings.append(f"{name} has {len(loaded)} rows; {benchmark.title} usually has {benchmark.rows[0]}")
        rows += loaded
    return rows, warnings


def prepare(out_dir: Path, source: str | None = None, seed: int = 0) -> Path:
    """Writes out_dir/test.parquet and returns its path; prints a warning for each benchmark of unusual size.

    source: None for the hub, a folder with one file per benchmark, or the UFT repository's others/test.parquet.
    seed: unused, since nothing is random; all `prepare` functions take one.
    """
    if source is not None and Path(source).is_file():
        rows = load_uft(Path(source))
    else:
        rows, warnings = collect(None if source is None else Path(source), BY_NAME)
        for warning in warnings:
            print(f"warning: {warning}")
    write_rows(out_dir / "test.parquet", rows)
    return out_dir / "test.parquet"
