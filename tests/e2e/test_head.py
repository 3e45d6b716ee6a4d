"""The last layer: a hint's likelihood adds no array over the vocabulary; verl's fused head (GPU) trains the same."""

from typing import Any

import pytest
import torch

from recipes.run_dir import RunDir
from recipes.verl_plugin.environment import environment
from tests.e2e.support import tiny_experiment, tiny_model, torchrun

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("head")
    model = tiny_model(folder / "model")
    results = {}
    for head in ("plain", "fused"):
        out = folder / f"{head}.pt"
        env = environment(tiny_experiment(model=str(model)), RunDir(folder))
        torchrun("head_worker.py", model, out, head, env=env)
        results[head] = torch.load(out)
    return results


@pytest.mark.parametrize("head", ["plain", "fused"])
def test_the_hints_likelihood_adds_no_array_over_the_vocabulary(found: dict[str, Any], head: str) -> None:
    assert found[head]["hint tokens"] == 60
    assert found[head]["plain"]["arrays"], "nothing was counted: the comparison would prove nothing"
    assert found[head]["uft"]["arrays"] == found[head]["plain"]["arrays"]


def test_the_fused_head_has_the_gradient_of_the_plain_one(found: dict[str, Any]) -> None:
    for loss in ("plain", "uft"):
        plain, fused = found["plain"][loss]["gradient"], found["fused"][loss]["gradient"]
        assert plain.keys() == fused.keys()
        for name, value in plain.items():
            assert torch.allclose(value, fused[name], atol=1e-6, rtol=1e-4), name
    whole = torch.cat([value.flatten() for value in found["plain"]["uft"]["gradient"].values()])
    without = torch.cat([value.flatten() for value in found["plain"]["plain"]["gradient"].values()])
    assert (whole - without).norm() > 1e-3 * whole.norm(), "the hint has no gradient"
