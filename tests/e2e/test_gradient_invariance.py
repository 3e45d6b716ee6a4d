"""Every loss term has the same gradient however the batch is split: micro-batches, packing, 1 or 2 ranks (gloo)."""

from pathlib import Path

import pytest
import torch

from recipes.common.run_dir import RunDir
from recipes.verl_plugin.environment import environment
from tests.e2e.support import ranks_of, tiny_experiment, tiny_model

pytestmark = pytest.mark.e2e

TERMS = (
    *("policy", "kl", "entropy", "hint token-mean", "hint paper sum", "shaped demonstrations", "all"),
    *("second update", "rescored", "una", "sft"),
)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    folder = tmp_path_factory.mktemp("gradients")
    model = tiny_model(folder / "model")
    found = {}
    for ranks in (1, 2):
        out = folder / f"{ranks}.pt"
        env = environment(tiny_experiment(model=str(model)), RunDir(folder))
        ranks_of("gradient_worker.py", model, out, ranks=ranks, env=env)
        found[ranks] = torch.load(out)
    return found


def flat(gradient: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for _, value in sorted(gradient.items())])


@pytest.mark.parametrize("term", TERMS)
def test_gradient_does_not_depend_on_micro_batches_or_ranks(gradients: dict[int, dict], term: str) -> None:
    whole = flat(gradients[1][term, 4])
    assert whole.norm() > 1e-4, "the term has no gradient: the comparison would prove nothing"
    for ranks in (1, 2):
        for micro in (4, 2, 1, None, "packed"):
            other = flat(gradients[ranks][term, micro])
            difference = (other - whole).norm() / whole.norm()
            assert difference < 1e-5, (
                f"{term}: {ranks} ranks, micro-batches of {micro}: relative difference {difference}"
            )


def test_solutions_that_are_due_are_learned_by_their_likelihood_alone(gradients: dict[int, dict]) -> None:
    """The same weights as the hint's, without a policy's loss beside them."""
    due, hint = (flat(gradients[1][term, 4]) for term in ("second update", "hint token-mean"))
    assert (0.9 * due - hint).norm() / hint.norm() < 1e-5


def test_an_update_without_a_single_verdict_moves_nothing(gradients: dict[int, dict]) -> None:
    """verl would divide by its zero tokens, and every weight would be NaN from then on."""
    for ranks in (1, 2):
        for micro in (4, 1):
            assert torch.equal(
                flat(gradients[ranks]["no verdict", micro]), torch.zeros(flat(gradients[1]["una", 4]).shape)
            )


def test_terms_add_up_to_the_whole_loss(gradients: dict[int, dict]) -> None:
    """The hint's log-likelihood is added to verl's loss, and changes nothing else in it."""
    parts = [flat(gradients[1][term, 4]) for term in ("policy", "kl", "entropy", "hint token-mean")]
    difference = (sum(parts) - flat(gradients[1]["all", 4])).norm() / flat(gradients[1]["all", 4]).norm()
    assert difference < 1e-5


def test_hint_gradient_is_that_of_a_plain_forward_pass(gradients: dict[int, dict], tmp_path: Path) -> None:
    """The same rows through Hugging Face and autograd alone: coef * mean NLL over all hint tokens."""
    from transformers import AutoModelForCausalLM

    from tests.e2e.gradient_worker import SHAPES

    model = AutoModelForCausalLM.from_pretrained(tiny_model(tmp_path / "model"), dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    total, tokens = torch.zeros(()), 0
    for prompt, hint, generated in SHAPES:
        ids = torch.randint(1, model.config.vocab_size, (prompt + hint + generated,), generator=generator)
        for _ in range(2):
            torch.rand(hint + generated, generator=generator)
        torch.randn(hint + generated, generator=generator)
        # verl's padding rows (nothing generated) have no hint.
        if generated == 0 or hint == 0:
            continue
        log_probs = torch.log_softmax(model(ids[None]).logits[0, prompt - 1 : prompt + hint - 1], -1)
        total = total - log_probs.gather(-1, ids[prompt : prompt + hint, None]).sum()
        tokens += hint
    (0.9 * total / tokens).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    found = gradients[1]["hint token-mean", 4]
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.allclose(value, found[name], atol=1e-6, rtol=1e-4), name
