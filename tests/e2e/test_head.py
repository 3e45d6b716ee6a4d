"""The last layer: a hint's likelihood adds no array over the vocabulary; verl's fused head (GPU) trains the same.

With tied embeddings and with a head of its own (Qwen2.5-7B, Llama-3.1-8B), which verl would shard apart; on 1 and 2
ranks (gloo).
"""

from typing import Any

import pytest
import torch

from recipes.common.run_dir import RunDir
from recipes.verl_plugin.environment import environment
from tests.e2e.support import ranks_of, tiny_experiment, tiny_model

pytestmark = pytest.mark.e2e

RANKS, MODELS, HEADS, LOSSES = (1, 2), ("tied", "untied"), ("plain", "fused"), ("plain", "uft", "sft")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[tuple[str, str], Any]]:
    """Of (model, head), by the number of ranks."""
    folder = tmp_path_factory.mktemp("head")
    models = [tiny_model(folder / name, tied=name == "tied") for name in MODELS]
    results = {}
    for ranks in RANKS:
        out = folder / f"{ranks}.pt"
        env = environment(tiny_experiment(model=str(models[0])), RunDir(folder))
        ranks_of("head_worker.py", out, *models, ranks=ranks, env=env)
        results[ranks] = torch.load(out)
    return results


def expect_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Of every parameter by itself: those of attention are thousands of times smaller than those of the head."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.norm() > 0, f"{name} has no gradient: the comparison would prove nothing"
        difference = (other[name] - value).norm() / value.norm()
        assert difference < 1e-5, f"{name}: relative difference {difference}"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("ranks", RANKS)
def test_the_hints_likelihood_adds_no_array_over_the_vocabulary(
    found: dict[int, Any], ranks: int, model: str, head: str
) -> None:
    results = found[ranks][model, head]
    assert results["hint tokens"] == 60
    assert results["plain"]["arrays"], "nothing was counted: the comparison would prove nothing"
    assert results["uft"]["arrays"] == results["plain"]["arrays"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("ranks", RANKS)
def test_the_fused_head_has_the_gradient_of_the_plain_one(
    found: dict[int, Any], ranks: int, model: str, loss: str
) -> None:
    plain, fused = (found[ranks][model, head][loss]["gradient"] for head in HEADS)
    assert ("lm_head.weight" in plain) == (model == "untied")
    expect_same(plain, fused)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("model", MODELS)
def test_two_ranks_have_the_gradient_of_one(found: dict[int, Any], model: str, head: str, loss: str) -> None:
    one, two = (found[ranks][model, head][loss]["gradient"] for ranks in RANKS)
    expect_same(one, two)


@pytest.mark.parametrize("model", MODELS)
def test_the_hint_has_a_gradient(found: dict[int, Any], model: str) -> None:
    with_hint, without = (found[1][model, "plain"][loss]["gradient"] for loss in ("uft", "plain"))
    change = sum((with_hint[name] - without[name]).square().sum() for name in without) ** 0.5
    assert change > 1e-3 * sum(value.square().sum() for value in with_hint.values()) ** 0.5
