"""The yardstick of `python -m bench.alignment`: likelihoods, costs and the table against values worked out by hand."""

import json
from pathlib import Path

import torch

from bench import alignment
from bench.alignment_measure import Cost, _until_end, cost
from bench.alignment_table import write
from recipes.common.run_dir import append_metrics, write_json


def test_an_answer_ends_with_its_first_end_token() -> None:
    assert _until_end(torch.tensor([4, 5, 9, 9]), 9) == [4, 5, 9]
    assert _until_end(torch.tensor([4, 5]), 9) == [4, 5]


def test_cost_of_a_run_and_of_two_in_a_row(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"seconds": 100.0, "peak_memory_bytes": 7})
    append_metrics(tmp_path / "metrics.jsonl", 0, {"timing_s/validation": 50.0})
    for step, seconds in enumerate((9.0, 5.0, 1.0, 2.0, 3.0), 1):
        append_metrics(tmp_path / "metrics.jsonl", step, {"timing_s/step": seconds})
    found = cost(tmp_path)
    assert found == Cost(training_seconds=20.0, step_seconds=2.0, seconds=100.0, peak_memory_bytes=7)
    assert found.after(Cost(1.0, 8.0, 10.0, 9)) == Cost(21.0, 2.0, 110.0, 9)


def test_table_means_and_spreads(tmp_path: Path) -> None:
    quality = {"accuracy": 0.5, "sampled_score": 0.4, "sampled_reward": 0.25, "kl": 1.0, "kl_error": 0.1}
    quality |= {"pairs_ranked": 0.75, "forgetting": 0.0, "instruction_nll": 0.3}
    spent = {"training_seconds": 10.0, "step_seconds": 1.0, "seconds": 60.0, "peak_memory_bytes": 3 * 2**30}
    rows = [{"method": "base", "seed": None, **quality}]
    rows += [{"method": "ppo", "seed": seed, **quality, **spent, "accuracy": 0.5 + seed / 10} for seed in (0, 1)]
    write(rows, tmp_path, command="the command")
    text = (tmp_path / "table.md").read_text()
    assert "| base |  | 50.0% | 0.400 |" in text
    assert "| ppo | 2 | 55.0% +- 7.1 | 0.400 +- 0.000 |" in text
    assert "| 10 s | 60 s | 3.00 GiB |" in text
    assert "| ppo | 1.00 | 10 s | 3.00 GiB |" in text
    assert json.loads((tmp_path / "results.json").read_text())["command"] == "the command"
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")


def test_every_method_is_a_run_that_run_py_would_start(tmp_path: Path) -> None:
    options = alignment.parser().parse_args(["--out", str(tmp_path)])
    data = alignment._data(tmp_path, n_train=8)
    weights = tmp_path / "runs/sft-s0/hf/last"
    weights.parent.mkdir(parents=True)
    weights.symlink_to(alignment.BASE)
    plans = {each.folder: alignment._planned(each, 0, options, data) for each in alignment.METHODS}
    assert len(plans) == 11
    assert plans["una-bce"].experiment.alignment.una_loss == "bce"
    assert plans["sft-dpo"].experiment.model == str(alignment.BASE)
    assert plans["dpo"].experiment.data == str(data)
    assert (plans["ppo"].experiment.data, plans["ppo"].experiment.T) == ("countdown", 30)
    assert all(plan.state == "not started" for plan in plans.values())
