"""The fast lab does what a run does: the same model, order of problems, tokens, weights and loss. Only the engine that
draws is another."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from transformers import LlamaForCausalLM

from bench.lab import model
from bench.lab.losses import Scored, loss_of, score
from bench.lab.reinforce import batches
from bench.lab.rollouts import roll, start_of
from bench.lab.train import refuse
from recipes.algorithms import algorithms
from recipes.algorithms.base import Bare, Demonstration, Group, Hint
from recipes.algorithms.losses.advantage import group_advantage
from recipes.algorithms.losses.terms import streams, term_sum
from recipes.common.errors import ExperimentError
from recipes.settings.experiment import Experiment
from recipes.settings.hook_settings import hook_settings
from tests.helpers.labs import BASE, ROWS, experiment, lab
from tests.helpers.verl_configs import reinforcement

pytestmark = pytest.mark.contract


def test_the_model_is_transformers_own_all_tokens_at_once_and_one_by_one() -> None:
    shape, parameters = model.load(BASE)
    ids = torch.randint(1, 600, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = LlamaForCausalLM.from_pretrained(BASE)(ids).logits
        cache = model.empty_cache(shape, 3, 12)
        # Rows of 5, 8 and 11 tokens, then one more each.
        begun = torch.tensor([5, 8, 11])
        padded = ids.where(torch.arange(12) < begun.unsqueeze(1), 0)
        first = model.hidden(parameters, shape, padded[:, :11], cache)
        more = model.hidden_of_one_more(parameters, shape, ids[torch.arange(3), begun], begun, cache)
        mine = model.logits(parameters, model.hidden(parameters, shape, ids))
    assert mine.sub(theirs).abs().max() < 1e-4
    for row, length in enumerate(begun.tolist()):
        assert model.logits(parameters, first[row, length - 1]).sub(theirs[row, length - 1]).abs().max() < 1e-4
        assert model.logits(parameters, more[row]).sub(theirs[row, length]).abs().max() < 1e-4


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2", "tie_word_embeddings": true}')
    with pytest.raises(ValueError, match="plain Llamas"):
        model.load(tmp_path)


def test_problems_come_in_verls_order() -> None:
    from verl.trainer.ppo.utils import create_rl_sampler

    rows: list[Any] = [{"row": place} for place in range(10)]
    sampler = create_rl_sampler(OmegaConf.create({"shuffle": True, "seed": 3, "sampler": None}), rows)
    theirs = [list(sampler) for _ in range(2)]
    order = batches(rows, 4, 3)
    mine = [[row["row"] for row in next(order)] for _ in range(4)]
    assert mine == [theirs[0][:4], theirs[0][4:8], theirs[1][:4], theirs[1][4:8]]


def test_responses_end_at_the_end_token_and_at_their_budget_and_repeat_by_their_seed() -> None:
    here, (_, parameters) = lab(max_response_length=12), model.load(BASE)
    starts = [start_of(here, row, {"pieces": 0, "length": 0}) for row in ROWS]
    whole = start_of(here, ROWS[0], {"demonstration": 1})
    rows, starts = [*ROWS, ROWS[0]], [*starts, whole]
    first, again, other = (roll(here, parameters, rows, starts, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert [each.response for each in first] == [each.response for each in again]
    assert [each.response for each in first] != [each.response for each in other]
    assert {len(each.generated) for each in first[:-1]} == {12}
    assert (first[-1].generated, first[-1].verdict) == ([], {"score": 1.0})
    long = lab()
    (greedy,) = roll(long, parameters, ROWS[:1], starts[:1], temperature=0.0, seed=0)
    assert greedy.verdict["acc"] == 1
    assert greedy.generated[-1] == long.tokenizer.eos_token_id
    assert greedy.text == ROWS[0]["answer"]


def test_a_greedy_answer_is_transformers_own() -> None:
    here, (_, parameters) = lab(), model.load(BASE)
    start = start_of(here, ROWS[1], {"pieces": 0, "length": 0})
    theirs = LlamaForCausalLM.from_pretrained(BASE).generate(
        torch.tensor([start.prompt]), do_sample=False, max_new_tokens=here.experiment.max_response_length
    )
    (mine,) = roll(here, parameters, ROWS[1:2], [start], temperature=0.0, seed=0)
    assert mine.generated == theirs[0, len(start.prompt) :].tolist()


def test_scores_are_of_the_response_alone_whatever_stands_beside_it() -> None:
    shape, parameters = model.load(BASE)
    prompts, responses = [[5, 6, 7], [8]], [[9, 10], [11, 12, 13, 14]]
    with torch.no_grad():
        both = score(parameters, shape, prompts, responses)
        alone = score(parameters, shape, prompts[:1], responses[:1])
        logits = LlamaForCausalLM.from_pretrained(BASE)(torch.tensor([[5, 6, 7, 9, 10]])).logits[0].log_softmax(-1)
    assert both.log_probs[0, :2].tolist() == pytest.approx([float(logits[2, 9]), float(logits[3, 10])], abs=1e-4)
    assert both.log_probs[0, :2].tolist() == pytest.approx(alone.log_probs[0].tolist(), abs=1e-5)
    assert not both.log_probs[0, 2:].any()
    entropy = -(logits.exp() * logits).sum(-1)
    assert both.entropy[0, 0].item() == pytest.approx(float(entropy[2]), abs=1e-4)


# --- the loss -------------------------------------------------------------------------------------------------------


PPO = [
    name
    for name, each in algorithms().items()
    if "rl" in each.stages and each.loss is None and "critic" not in each.needs
]


def made_up(algo: str, e: Experiment, s: Any) -> list[Group]:
    """Two prompts of four generated rollouts, with what the algorithm's own draws look like."""
    found = []
    for place in range(2):
        n = e.n_rollout + e.algorithm.demonstrations
        draw = torch.Generator().manual_seed(place)
        shown = torch.tensor([row >= e.n_rollout for row in range(n)]).unsqueeze(-1)
        at = torch.arange(6 + place)
        old = -torch.rand(n, len(at), generator=draw) - 0.1
        hint = 2 if e.algorithm.uses_hints and not e.algorithm.demonstrations else 0
        found.append(
            Group(
                scores=torch.tensor([1.0, 0.1, 0.0, 1.0 - place, *[1.0] * (n - 4)]),
                ok=torch.ones(n, dtype=torch.bool),
                plans=tuple(Demonstration() if row >= e.n_rollout else Hint(1) if hint else Bare() for row in range(n)),
                given=(at < hint) & ~shown,
                gen=(at >= hint) & (at < 5) & ~shown,
                demo=(at < 4) & shown,
                old=old * (at < 5),
                ref=(old - 0.05) * (at < 5),
                rescored=(old * 0.9) * (at < 5) if e.algorithm.context is not None else None,
                key=f"{place:016x}",
                step=3,
                segments=5,
                entropy=torch.ones(n, len(at)),
                solution="state 1: 2\n",
                texts=("state 1: 2\n",) * n,
            )
        )
    return found


@pytest.mark.parametrize("algo", PPO)
def test_the_loss_has_the_gradient_of_verls_and_of_our_terms(algo: str) -> None:
    from verl.trainer.ppo.core_algos import agg_loss, get_policy_loss_fn, kl_penalty
    from verl.utils.config import omega_conf_to_dataclass

    e = experiment(algo)
    s = SimpleNamespace(**hook_settings(e))
    groups = made_up(algo, e, s)
    weighed = [e.algorithm.weigh(group, s) for group in groups]
    width = max(group.old.shape[1] for group in groups)

    def joined(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([torch.nn.functional.pad(each, (0, width - each.shape[1])) for each in values])

    log_probs = joined([group.old for group in groups]).requires_grad_()
    entropy = joined([group.entropy for group in groups if group.entropy is not None]).requires_grad_()
    ref = joined([group.ref for group in groups if group.ref is not None])
    loss_of(e, s, groups, weighed, Scored(log_probs, entropy), ref).backward()
    mine = [log_probs.grad.clone(), entropy.grad.clone()]  # type: ignore[union-attr]
    log_probs.grad = entropy.grad = None

    actor: Any = omega_conf_to_dataclass(reinforcement(e).actor_rollout_ref.actor)
    gen = joined([group.gen for group in groups])
    mask = joined([group.gen if w.mask is None else w.mask for w, group in zip(weighed, groups, strict=True)]).float()
    usual = group_advantage(
        torch.cat([group.scores for group in groups]), gen, [p for p, group in enumerate(groups) for _ in group.plans]
    ).split([len(group.plans) for group in groups])
    advantage = joined(
        [
            estimated[:, : group.old.shape[1]] if each.advantage is None else each.advantage
            for each, estimated, group in zip(weighed, usual, groups, strict=True)
        ]
    )
    how = {"loss_agg_mode": actor.loss_agg_mode, "loss_mask": mask}
    actor.global_batch_info.update(
        dp_size=1,
        batch_num_tokens=max(1, int(mask.sum())),
        global_batch_size=len(gen),
        loss_scale_factor=actor.loss_scale_factor,
    )
    policy, _ = get_policy_loss_fn("vanilla")(
        old_log_prob=log_probs.detach(),
        log_prob=log_probs,
        advantages=advantage,
        response_mask=mask,
        loss_agg_mode=actor.loss_agg_mode,
        config=actor,
    )
    info = actor.global_batch_info
    total = policy - actor.entropy_coeff * agg_loss(entropy, **how, **info)
    if actor.use_kl_loss and actor.kl_loss_coef:
        total = total + actor.kl_loss_coef * agg_loss(kl_penalty(log_probs, ref, "low_var_kl"), **how, **info)
    for stream in streams(groups, weighed, updates=1, votes=len(gen), length=e.response_length):
        total = total + stream.coef * term_sum(log_probs, joined(stream.rows), stream.shape)
    total.backward()
    theirs = [log_probs.grad, entropy.grad]
    for own, verls in zip(mine, theirs, strict=True):
        assert verls is not None
        assert own.sub(verls).abs().max() < 1e-6
    assert math.isfinite(float(mine[0].abs().sum()))
    assert mine[0].any()


def test_what_the_lab_cannot_do_is_refused() -> None:
    for flags, what in (
        ({"algo": "ppo"}, "no critic"),
        ({"mini_batch_size": 16}, "one update per batch"),
        ({"lora_rank": 4}, "all weights"),
    ):
        with pytest.raises(ExperimentError, match=what):
            refuse(experiment(**flags))
