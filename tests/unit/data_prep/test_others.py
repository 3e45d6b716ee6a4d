"""The evaluation benchmarks: every row comes through or the file, row and column at fault are named."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.benchmarks.others import BENCHMARKS, BY_NAME, Benchmark, collect, gold_text, load, load_uft
from data_prep.schema import read_rows
from data_prep.task_commands import others as main
from reward_fns import compute_score
from reward_fns.registry import SOURCES
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data" / "others"

# One answer cell as each benchmark writes it, and the gold answer in it.
CELLS: dict[str, tuple[Any, str]] = {
    "aime24": ("033", "033"),
    "aime25": ("70", "70"),
    "amc": (142.0, "142"),
    "math500": (r"\left( 3, \frac{\pi}{2} \right)", r"\left( 3, \frac{\pi}{2} \right)"),
    "minerva": (r"4.5e33", "4.5e33"),
    "olympiad_bench": (["$(-6,6)$, $(2,6)$"], "$(-6,6)$, $(2,6)$"),
    "gsm8k": ("She sells 16 - 7 = <<16-7=9>>9.\n#### 1,218", "1,218"),
}


def rows_of(benchmark: Benchmark, number: int = 3) -> list[dict[str, Any]]:
    cell = CELLS[benchmark.name][0]
    return [{benchmark.question: f"Question {n} {{x}}?", benchmark.answer: cell, "id": n} for n in range(number)]


def write_all(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for place, benchmark in enumerate(BENCHMARKS):
        rows = rows_of(benchmark)
        if place % 2:
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{benchmark.name}.parquet")
        else:
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{benchmark.name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_every_benchmark_has_a_reward_and_known_counts() -> None:
    assert set(BY_NAME) == set(CELLS)
    assert all(SOURCES[name] == "math" for name in BY_NAME)
    usual = {benchmark.name: benchmark.rows[0] for benchmark in BENCHMARKS}
    assert usual == {
        "aime24": 30, "aime25": 30, "amc": 83, "math500": 500, "minerva": 272, "olympiad_bench": 675, "gsm8k": 1319,
    }  # fmt: skip


def test_a_folder_becomes_one_file_that_the_reward_can_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_all(tmp_path / "in")
    assert main(["--from", str(source), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "aime24: 3 rows" in shown.out
    assert "warning: aime24 has 3 rows; AIME 2024 usually has 30" in shown.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test.parquet"]
    rows = read_rows(tmp_path / "out" / "test.parquet")
    assert [row["data_source"] for row in rows] == [name for name in BY_NAME for _ in range(3)]
    for row in rows:
        gold = CELLS[row["data_source"]][1]
        assert row["hint"] == []
        assert row["answer"] == f" </think>\n<answer> {gold} </answer>"
        assert row["reward_model"]["ground_truth"] == {"target": gold}
        assert "User: Question " in row["prompt"][0]["content"]
        judged = compute_score(row["data_source"], row["answer"], row["reward_model"]["ground_truth"])
        assert judged["score"] == 1.0
        assert compute_score(row["data_source"], "<answer>7919</answer>", {"target": gold})["score"] == 0.1


def test_only_some_benchmarks_and_csv(tmp_path: Path) -> None:
    with (tmp_path / "gsm8k.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["question", "answer"])
        writer.writeheader()
        writer.writerow({"question": "How many,\nin all?", "answer": "Two\n#### 2"})
    rows, warnings = collect(tmp_path, ["gsm8k"])
    assert [row["reward_model"]["ground_truth"]["target"] for row in rows] == ["2"]
    assert "How many,\nin all?" in rows[0]["prompt"][0]["content"]
    assert len(warnings) == 1
    with pytest.raises(ValueError, match=r"no aime24 with one of the endings \.parquet"):
        collect(tmp_path, ["aime24"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": ""}, r"aime24\.jsonl, row 1, column answer: the gold answer is empty"),
        ({"answer": None}, r"aime24\.jsonl, row 1, column answer: the gold answer is empty"),
        ({"answer": r"\frac{1"}, r"aime24\.jsonl, row 1, column answer: the gold answer has unbalanced braces"),
        ({"problem": " "}, r"aime24\.jsonl, row 1, column problem: must be text"),
    ],
)
def test_a_row_that_cannot_be_judged_is_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    rows = rows_of(BY_NAME["aime24"])
    rows[1] |= change
    (tmp_path / "aime24.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(BY_NAME["aime24"], tmp_path)


def test_a_later_row_may_lack_no_column(tmp_path: Path) -> None:
    rows = rows_of(BY_NAME["aime24"])
    del rows[2]["problem"]
    (tmp_path / "aime24.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(ValueError, match=r"row 2, column problem: must be text, got None"):
        load(BY_NAME["aime24"], tmp_path)


def test_golds_of_all_cell_types() -> None:
    assert [gold_text(cell) for cell in (142.0, 0.5, 7, "7", ["1", "2"], None)] == ["142", "0.5", "7", "7", "1,2", ""]


def test_the_hub_is_asked_for_every_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    by_hub = {benchmark.hub: benchmark for benchmark in BENCHMARKS}

    def load_dataset(name: str, config: str | None, split: str) -> list[dict[str, Any]]:
        benchmark = by_hub[name]
        assert (config, split) == (benchmark.config, benchmark.split)
        return rows_of(benchmark, benchmark.rows[0])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert main(["--from-hub", "--out", str(tmp_path)]) == 0
    counts = Counter(row["data_source"] for row in read_rows(tmp_path / "test.parquet"))
    assert counts == {benchmark.name: benchmark.rows[0] for benchmark in BENCHMARKS}


def test_the_published_mixed_file_comes_through_whole(tmp_path: Path) -> None:
    path = REFERENCE / "test.parquet"
    if not path.exists():
        pytest.skip(f"the published mixed evaluation data is not at {path}")
    rows = load_uft(path)
    assert Counter(row["data_source"] for row in rows) == {
        "gsm8k": 1319, "math": 1024, "countdown": 1024, "olympiad_bench": 675, "math500": 500, "minerva": 272,
        "amc": 83, "aime24": 30,
    }  # fmt: skip
    assert all(row["hint"] == [] for row in rows if row["data_source"] in BY_NAME and row["data_source"] != "gsm8k")
    assert main(["--from-uft", str(REFERENCE), "--out", str(tmp_path)]) == 0
    assert read_rows(tmp_path / "test.parquet") == rows
