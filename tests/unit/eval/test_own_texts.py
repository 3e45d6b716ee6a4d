"""Forgetting: likelihoods worked out by hand, and the embedded base against itself and against another."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from data_prep.own_texts import FILE
from data_prep.tiny_base.chains import ChainSettings, own_texts
from eval.own_texts import Forgetting, log_probs, measure, nll, read
from recipes.common.run_dir import RunDir, read_metrics, write_json
from recipes.run import own_texts_stage
from recipes.watch.heartbeat import read_heartbeat
from tests import ROOT

COUNTDOWN = ROOT / "models/tiny-countdown"
HOW = {"device": "cpu", "dtype": "float32", "seed": 0}


class Bigram(torch.nn.Module):
    """Token t is followed by token u with log-probability table[t, u]."""

    device = "cpu"
    table = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.1, 0.2, 0.7]]).log()

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table[input_ids])


def test_likelihood_is_of_the_completion_alone_whatever_its_neighbours_in_the_batch() -> None:
    rows = [([0], [1, 2]), ([1, 1, 2], [2]), ([2, 0], [0, 0, 0, 1])]
    expected = torch.tensor([0.25 * 0.75, 0.7, 0.5**3 * 0.25]).double().log()
    assert torch.allclose(log_probs(Bigram(), rows), expected)
    for row, value in zip(rows, expected, strict=True):
        assert log_probs(Bigram(), [row]).item() == pytest.approx(value.item())
    assert nll(Bigram(), rows) == pytest.approx(-expected.sum().item() / 7)


def test_forgetting_is_what_the_texts_became_less_likely_by(tmp_path: Path) -> None:
    base = str(COUNTDOWN)
    assert measure(base, base, count=6, **HOW).nats == 0
    # Noise on every weight: its own texts become less likely.
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    model.save_pretrained(tmp_path)
    found = measure(base, str(tmp_path), count=6, **HOW)
    assert found.nats == found.trained - found.base > 0.1
    assert (found.texts, found.written) == (6, False)


def test_a_base_without_stored_texts_writes_them_and_the_same_ones_again(tmp_path: Path) -> None:
    base = shutil.copytree(COUNTDOWN, tmp_path / "base", ignore=shutil.ignore_patterns(FILE))
    told: list[tuple[int, int]] = []
    found = measure(str(base), str(base), count=8, **HOW, progress=lambda *at: told.append(at))
    # Written, a share of all texts after every token; then read by both.
    assert told[:2] == [(0, 24), (0, 24)]
    assert {(1, 24), (4, 24), (8, 24)} < {*told}
    assert told[-2:] == [(16, 24), (24, 24)]
    assert told == sorted(told)
    assert found == measure(str(base), str(base), count=8, **HOW)
    assert (found.nats, found.texts, found.written) == (0, 8, True)
    assert found != measure(str(base), str(base), count=8, **{**HOW, "seed": 1})


@pytest.mark.parametrize(
    "base", [COUNTDOWN, ROOT / "models/tiny-chain-q40", ROOT / "models/tiny-chain-q75"], ids=lambda path: path.name
)
def test_the_embedded_bases_find_their_own_texts_likely(base: Path) -> None:
    """Some nats a token less than letters drawn at random; and the file is what its builder writes."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = read(base / FILE, tokenizer, 1000)
    assert len(rows) == 128
    assert all(answer[-1] == tokenizer.eos_token_id for _, answer in rows)
    found = measure(str(base), str(base), count=128, **HOW)
    assert found.base < 1.0
    if base == COUNTDOWN:
        asked, answer = own_texts(ChainSettings(aligned_share=0.1), 1)[0]
        assert json.loads((base / FILE).read_text().split("\n")[0]) == {"prompt": asked, "completion": answer}


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    tokenizer = SimpleNamespace(encode=lambda text: [len(text)], eos_token_id=0)
    assert read(file, tokenizer, 1) == [([1], [1, 0])]
    with pytest.raises(ValueError, match=r"own_texts.jsonl, line 2: must be"):
        read(file, tokenizer, 2)


def test_the_stage_adds_its_figure_to_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = RunDir(tmp_path), tmp_path / "eval/own_texts"
    given = {"run": str(tmp_path), "step": 7, "measured": {"base": "b", "trained": "t", "count": 3, **HOW}}
    write_json(folder / "own_texts.json", given)
    seen = []

    def measured(base: str, trained: str, *, progress: Callable[[int, int], None], **how: object) -> Forgetting:
        seen.append((base, trained, how))
        progress(2, 6)
        beat = read_heartbeat(folder)
        assert beat is not None
        assert beat.metrics == {"texts": 2, "of": 6}
        return Forgetting(0.5, 0.75, 3, True)

    monkeypatch.setattr(own_texts_stage, "measure", measured)
    monkeypatch.setattr(sys, "argv", ["own_texts_stage", str(folder / "own_texts.json")])
    own_texts_stage.main()
    assert seen == [("b", "t", {"count": 3, **HOW})]
    assert [(row["step"], row["data"]) for row in read_metrics(run.metrics)] == [(7, {"val/forgetting": 0.25})]
    assert json.loads((folder / "results.json").read_text())["nats"] == 0.25
