"""Published numbers: every one has a source and a possible value, and stands only beside a run in the same setting."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.published import FILE, beside, load, published
from tests.helpers.run_folders import settings_of

Document = dict[str, Any]


def test_every_entry_has_a_source_and_a_possible_value() -> None:
    highest = {"share": 1, "percent": 100, "of_ten": 10, "hours": 10_000}
    for entry in published():
        assert entry.paper.arxiv.count(".") == 1, entry
        assert entry.place, entry
        assert f"arXiv {entry.paper.arxiv}" in entry.source
        assert 0 <= entry.value <= highest[entry.unit], entry
        assert entry.read in ("table", "figure", "relayed", "derived"), entry
        assert (entry.plus_minus > 0) == (entry.read in ("figure", "derived")), entry
        assert all((entry.model, entry.algo, entry.task, entry.trained_on)), entry


def test_no_number_is_there_twice() -> None:
    counts = Counter(
        (e.paper, e.version, e.place, e.metric, e.task, e.trained_on, e.model, e.algo, e.variant, e.step)
        for e in published()
    )
    assert [identity for identity, count in counts.items() if count > 1] == []


def test_no_key_is_misspelled() -> None:
    of_table = (
        "paper version place page read plus_minus metric unit trained_on step steps data_options note columns rows"
    )
    of_row = "task model algo variant values by_step settings step plus_minus trained_on"
    for table in yaml.safe_load(FILE.read_text(encoding="utf-8"))["tables"]:
        assert table.keys() <= {*of_table.split()}, table["place"]
        for row in table["rows"]:
            assert row.keys() <= {*of_row.split()}, (table["place"], row)


def find(**fields: Any) -> list[float]:
    return [entry.value for entry in published() if all(getattr(entry, name) == fields[name] for name in fields)]


def test_some_numbers_by_hand() -> None:
    on_task = {"model": "Qwen2.5-0.5B", "trained_on": "same", "task": "countdown", "step": 500}
    assert find(**on_task, algo="sft_rft") == [0.520]
    assert find(**on_task, algo="uft", variant="") == [50.39]
    assert find(**on_task, algo="uft", variant="beta .002") == [59.95]
    assert find(model="Qwen2.5-3B", algo="r3", task="gsm8k") == [70.20]
    assert find(model="Mistral-7B-v0.1", algo="una_score", task="old_leaderboard_mean") == [64.35]
    assert find(model="Qwen2.5-Math-7B", algo="hpt", task="olympiad") == [56.9]


def test_printed_means_are_the_means_of_their_rows() -> None:
    """A slip of a digit in a row of six or seven numbers would show here."""
    rows: dict[tuple[Any, ...], dict[str, float]] = {}
    for entry in published():
        key = (entry.paper, entry.version, entry.place, entry.model, entry.algo, entry.variant, entry.trained_on)
        rows.setdefault(key, {})[entry.task] = entry.value
    new = [f"leaderboard_{name}" for name in ("bbh", "gpqa", "mmlu_pro", "musr", "ifeval", "math_hard")]
    old = ["gsm8k", "truthfulqa", "winogrande", "arc_challenge", "hellaswag", "mmlu"]
    six = ["aime24", "aime25", "amc", "math500", "minerva", "olympiad"]
    checked = 0
    for key, row in rows.items():
        for mean, parts in (("leaderboard_mean", new), ("old_leaderboard_mean", old), ("six_mean", six)):
            if mean in row and all(part in row for part in parts):
                assert row[mean] == pytest.approx(sum(row[part] for part in parts) / 6, abs=0.11), (key, mean)
                checked += 1
    assert checked > 50


@pytest.mark.parametrize("task", ["countdown", "math", "kk_logic"])
@pytest.mark.parametrize("algo", ["sft", "rft", "sft_rft", "r3", "uft"])
@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-3B"])
def test_the_default_full_size_run_is_the_papers(task: str, algo: str, model: str) -> None:
    """Our defaults, without a flag, are the published setting; a change of a default that breaks this shows here."""
    found = beside(settings_of(algo, data=task, model=model))
    assert found
    assert found[-1].step == (None if algo == "sft" else 500)
    assert 0 <= found[-1].share <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"model": "Qwen/Qwen2.5-7B"},
        {"T": 400},
        {"T_hint": 250},
        {"sft_loss_coef": 0.002},
        {"n_rollout": 8},
        {"lr": 2e-6},
        {"data_options": {"n_train": 4096, "n_test": 256}},
        {"val_size": 100},
        {"prompt_style": "chat"},
        {"lora_rank": 16},
        {"data": "my_countdown"},
    ],
)
def test_another_setting_has_nothing_beside_it(change: dict[str, Any]) -> None:
    settings = settings_of("uft")
    assert beside(settings)
    assert beside(settings | change) == []


def test_ablations_stand_beside_their_own_setting() -> None:
    settings = settings_of("uft")
    assert [entry.value for entry in beside(settings | {"T_hint": 200})] == [52.15]
    assert [entry.value for entry in beside(settings | {"kl_coef": 0.002, "sft_loss_coef": 0.002})] == [59.95]


def test_settings_that_do_not_touch_an_algorithm_do_not_matter() -> None:
    assert beside(settings_of("sft", T=100, T_hint=50))
    assert beside(settings_of("rft") | {"T_hint": 100})
    copied = settings_of("rft", data="math")
    copied["data_options"] |= {"source": "/data/math"}
    assert beside(copied)


def test_means_over_training_sets_and_models_are_never_beside_a_run() -> None:
    for model in ("Qwen2.5-0.5B", "Llama-3.2-1B", "mean of Qwen2.5-0.5B, 1.5B and 3B"):
        for entry in beside(settings_of("uft") | {"model": model}):
            assert entry.trained_on == "same"
            assert "mean" not in entry.model


def document() -> Document:
    table = {"paper": "p", "place": "table 1", "read": "table", "metric": "accuracy", "unit": "percent", "step": 5}
    table |= {"trained_on": "same", "columns": ["a", "b"], "rows": [{"model": "m", "algo": "x", "values": [1, None]}]}
    return {"papers": {"p": {"title": "t", "arxiv": "1234.5678"}}, "tables": [table]}


def write(path: Path, content: Document) -> Path:
    file = path / "numbers.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_cells_that_were_not_printed_are_no_entries(tmp_path: Path) -> None:
    (entry,) = load(write(tmp_path, document()))
    assert (entry.task, entry.value, entry.share, entry.settings) == ("a", 1, 0.01, None)


def test_a_model_trained_on_something_else_is_not_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = document()
    content["tables"][0]["rows"][0]["settings"] = {"T": 5}
    settings = {"data": "a", "model": "org/m", "algo": "x", "T": 5}
    for trained_on, expected in (("same", [1]), ("a", [1]), ("b", [])):
        content["tables"][0]["trained_on"] = trained_on
        entries = load(write(tmp_path, content))
        monkeypatch.setattr("eval.published.published", lambda entries=entries: entries)
        assert [entry.value for entry in beside(settings)] == expected
