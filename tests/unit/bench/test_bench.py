"""The benchmark's inputs have the lengths it claims, and its table compares what was run side by side."""

from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from transformers import AutoConfig, AutoTokenizer

from bench import deaths
from bench.__main__ import main
from bench.inputs import EMBEDDED, problems, random_model
from bench.report import bars, table
from bench.runs import VARIANTS, Size, _flags, _overrides
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES


def test_without_flags_it_shows_them_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: python -m bench")


@pytest.mark.parametrize("hint_tokens", [20, 25, 55])
def test_solutions_have_exactly_as_many_tokens_before_the_answer(tmp_path: Path, hint_tokens: int) -> None:
    from reward_fns import compute_score

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    folder = problems(tmp_path / "data", n_train=16, hint_tokens=hint_tokens)
    rows = parquet.read_table(folder / "train.parquet").to_pylist()
    assert len(rows) == 16
    for row in rows:
        assert len(row["hint"]) == 5
        assert len(tokenizer("".join(row["hint"]), add_special_tokens=False)["input_ids"]) == hint_tokens
        assert row["answer"].startswith("".join(row["hint"]))
        # A run refuses data whose own solutions are not right.
        assert compute_score("countdown", row["answer"], row["reward_model"]["ground_truth"])["acc"] == 1.0


def test_a_random_model_has_the_shape_and_a_tokenizer_of_its_vocabulary(tmp_path: Path) -> None:
    folder = random_model("tiny", tmp_path / "model")
    ours, theirs = AutoConfig.from_pretrained(folder), AutoConfig.from_pretrained(EMBEDDED)
    for name in ("hidden_size", "num_hidden_layers", "vocab_size", "head_dim", "tie_word_embeddings"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert len(AutoTokenizer.from_pretrained(folder)) == ours.vocab_size


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_all_variants_train_on_the_same_lengths(variant: object, tmp_path: Path) -> None:
    size = Size(batch=16, n_rollout=4, response=64, steps=12)
    hint_tokens = int(variant.hint_fraction * size.response)  # type: ignore[attr-defined]
    flags = _flags(variant, size, EMBEDDED, tmp_path, hint_tokens)  # type: ignore[arg-type]
    e = build_experiment(flags, PROFILES["cpu"])
    # Hint and generation share the response, and the hint leaves room to generate.
    assert "data.max_response_length=64" in _overrides(size)
    assert hint_tokens < size.response == e.max_response_length
    assert (e.batch_size, e.mini_batch_size, e.n_rollout, e.T) == (16, 16, 4, 12)


def run(variant: str, step: float, cpu: float) -> dict:
    size = {"batch": 16, "n_rollout": 4, "response": 64, "steps": 12}
    return {
        "variant": variant,
        "size": size,
        "seconds": {"gen": step / 2, "update_actor": step / 2, "step": step},
        "cpu_seconds": cpu,
        "start_seconds": 60.0,
        "first_step_seconds": 70.0,
        "peak_host_gib": 7.0,
        "peak_training_gib": 1.0,
        "tokens": 1000.0,
        "hint_tokens": 0.0,
    }


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which everything took twice as long says as much as the others."""
    runs = [run("verl GRPO", 4.0, 8.0), run("uft", 4.2, 8.0), run("verl GRPO", 8.0, 16.0), run("uft", 8.0, 16.8)]
    found = {"command": "x", "device": "CPU", "cores": 2, "profile": "cpu", "model": "tiny", "versions": {}}
    text = table({**found, "runs": runs, "scaling": []})
    phases, _, ratios = [line for line in text.splitlines() if line.startswith("| uft ")]
    assert " 182 " in phases  # the median of 1000 / 4.2 and 1000 / 8
    assert ratios.count("1.025 (1.000 to 1.050)") == 2  # the clock's and the processor's
    assert ratios.count("1.000 (1.000 to 1.000)") == 1  # memory


def test_bars_end_where_the_table_says() -> None:
    """The medians of phases do not add up to the median of steps: the rest is a bar of its own."""
    runs = [{"gen": 1.0, "ref": 0.5, "step": 2.0}, {"gen": 2.0, "ref": 0.5, "step": 4.0}]
    found = bars(runs)
    assert found["ref"] == (1.5, 0.5)
    assert found["rest"] == (2.0, 1.0)
    assert "rest" not in bars([{"gen": 1.0, "step": 0.9}])


def test_the_peak_counts_what_is_held_at_once() -> None:
    import torch

    from recipes.verl_plugin.live_memory import peak_bytes

    def call() -> None:
        first = torch.ones(1 << 18)  # 1 MiB
        second = first * 2
        del first
        third = second + 1
        del second, third

    assert peak_bytes(call) == pytest.approx(2 << 20, rel=1e-3)


def test_the_table_of_deaths_has_a_line_for_each_process_and_what_was_done_to_it() -> None:
    row = {"seconds": 31.4, "exit code": 1, "said": "", "left behind": 0}
    found = [
        {"how": "kill", "victim": "engine", "moment": "rollout", **row},
        {"how": "kill", "victim": "engine", "moment": "saving", **row, "seconds": 22.0},
        {"how": "stop", "victim": "worker", "moment": "update", **row, "exit code": 124},
    ]
    assert deaths.table(found).splitlines()[2:] == [
        "| kill engine |  | 31 s, 1 |  | 22 s, 1 |",
        "| stop worker |  |  | 31 s, 124 |  |",
    ]
    assert len({str(each) for each in deaths.trials()}) == len(list(deaths.trials())) == 30
