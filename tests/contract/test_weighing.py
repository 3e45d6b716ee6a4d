"""What an algorithm says of each prompt, as columns of verl's data plane: every row, padding and failures included."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from transfer_queue.metadata import KVBatchMeta

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import Bare, Demonstration, Group, Hint, Term, Weights
from recipes.verl_plugin.actor_loss import TERMS, actor_loss, term_column
from recipes.verl_plugin.reward_signal import moved_by_reward
from recipes.verl_plugin.weighing import CORRECTION, restore_masks, weigh
from tests.helpers.weighed_rows import FAILED, KEYS, MASKS, RECORDS, SHOWN, UFT, S, batch, groups, rows_of_two_prompts

pytestmark = pytest.mark.contract


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    return rows_of_two_prompts(monkeypatch)


@pytest.mark.usefixtures("plane")
def test_groups_hold_what_each_token_is_and_no_padding() -> None:
    problem = {"raw_prompt": [{"role": "user", "content": "q"}], "hint": ["a", "b"], "answer": "ab<answer>"}
    found = groups(problems={"1-0": problem}, text=lambda ids: f"{len(ids)} tokens")
    rows, (first, second) = found
    assert first.entropy is not None
    assert first.entropy[1].tolist() == [0.5] * 3 + [0.0] * 2
    assert (first.messages, first.solution) == (problem["raw_prompt"], "ab<answer>")
    assert first.texts == ("4 tokens", "3 tokens", "5 tokens")
    assert (list(second.messages), second.solution) == ([], "")
    assert rows == [[0, 1, 2], [3]]
    assert first.plans == (Hint(2), Hint(2), Demonstration())
    assert second.plans == (Bare(),)
    assert first.ok.tolist() == [True, False, True]
    assert first.scores.tolist() == [0.5, 0.0, 1.0]
    assert first.given.int().tolist() == [[1, 1, 0, 0, 0], [0] * 5, [0] * 5]
    assert first.gen.int().tolist() == [[0, 0, 1, 1, 0], [0] * 5, [0] * 5]
    assert first.demo.int().tolist() == [[0] * 5, [0] * 5, [1] * 5]
    assert first.scored.tolist() == [True, False, False]
    assert (first.key, second.key, first.segments) == ("p0", "p1", 3)


def test_every_row_gets_every_column_and_failures_and_padding_get_zeros(plane: dict[str, dict[str, Any]]) -> None:
    everything = replace(UFT, weigh=lambda group, s: Weights(torch.ones_like(group.old), terms=(all_of(group),)))
    found = weigh(everything, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert found.batch.fields == ["old ones", "advantages", "returns", term_column(0)]
    assert json.loads(found.batch.extra_info[TERMS]) == [["all", 0.5, ""]]
    for name in ("advantages", "returns", term_column(0)):
        assert [len(plane[key][name]) for key in KEYS] == [4, 3, 5, 2, 1]
        assert not plane["1-0_1_0"][name].any()
        assert not plane["padx_0_0"][name].any()
    # 4 and 5 tokens of the rows with a verdict of one prompt, 2 of the other; padding is none.
    assert plane["1-1_0_0"][term_column(0)].tolist() == pytest.approx([1 / 11] * 2)


def test_what_the_engine_did_not_draw_keeps_its_weight_whatever_verls_correction_says(
    plane: dict[str, dict[str, Any]],
) -> None:
    """verl gives 0 outside the response mask; a prefix that is trained would then have no loss."""
    drawn = [[0.0, 0.0, 0.5, 2.0], [0.0] * 3, [0.0] * 5, [0.25, 1.0], [0.0]]
    for key, weights in zip(KEYS, drawn, strict=True):
        plane[key][CORRECTION] = torch.tensor(weights)
    everything = replace(UFT, weigh=lambda group, s: Weights(mask=group.gen | group.given, terms=(all_of(group),)))
    corrected = KVBatchMeta(keys=list(KEYS), tags=batch().tags, partition_id="train", fields=[CORRECTION])
    weigh(everything, "uft", S, corrected, *groups(), updates=1, votes=4)
    found = [plane[key][CORRECTION].tolist() for key in KEYS]
    assert found == [[1, 1, 0.5, 2], [1] * 3, [1] * 5, [0.25, 1], [0]]
    # A term on generated tokens is corrected as PPO's loss is: 11 tokens, as in the test before.
    assert plane["1-0_0_0"][term_column(0)].tolist() == pytest.approx([1 / 11, 1 / 11, 0.5 / 11, 2 / 11])
    assert plane["1-0_2_0"][term_column(0)].tolist() == pytest.approx([1 / 11] * 5)


def test_weights_of_a_term_that_come_from_rewards_move_their_rows(plane: dict[str, dict[str, Any]]) -> None:
    """As srft's: PPO's advantage is 0, the reward is in a term."""
    for rewarded, coef, expected in ((True, 1.0, {3}), (False, 1.0, set()), (True, 0.0, set())):
        found = weigh(
            replace(UFT, weigh=partial(by_reward, coef, rewarded)), "uft", S, batch(), *groups(), updates=1, votes=4
        )
        assert found.rewarded == expected
        moved = moved_by_reward(found.batch, found.rewarded)
        assert moved == [row in expected for row in range(5)]


def by_reward(coef: float, rewarded: bool, group: Group, s: Any) -> Weights:
    """-1 on the second prompt's generated tokens."""
    weights = -group.gen.float() * (group.key == "p1")
    return Weights(group.gen * 0.0, terms=(Term(weights, "own", coef=coef, rewarded=rewarded),))


@pytest.mark.parametrize(
    ("algo", "expected"),
    [
        ("srft", {"demonstration_nll": False, "demonstration": True, "own": True}),
        ("luffy", {"demonstration": True}),
        ("uft", {"hint_nll": False}),
    ],
)
def test_rewards_in_terms_are_declared(algo: str, expected: dict[str, bool]) -> None:
    of = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 0]]).bool()
    group = Group(
        scores=torch.tensor([1.0, 0.0, 1.0]),
        ok=torch.ones(3).bool(),
        plans=(Bare(), Bare(), Demonstration()),
        given=of & False,
        gen=of,
        demo=torch.tensor([[0] * 3, [0] * 3, [1] * 3]).bool(),
        old=torch.zeros(3, 3),
        key="p",
        step=1,
        entropy=torch.ones(3, 3),
    )
    assert {term.name: term.rewarded for term in get_algorithm(algo).weigh(group, S).terms} == expected


def all_of(group: Group) -> Term:
    return Term((group.given | group.gen | group.demo).float(), "all", coef=0.5)


def test_a_term_without_weights_is_not_sent(plane: dict[str, dict[str, Any]]) -> None:
    for record in RECORDS:
        assert "hint_tokens" in record
    for row in plane.values():
        row["extra_fields"] = {"uft": {**row["extra_fields"]["uft"], "hint_tokens": 0}}
    found = weigh(UFT, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert json.loads(found.batch.extra_info[TERMS]) == []


def test_the_hints_term_is_divided_by_the_hint_tokens_of_an_update(plane: dict[str, dict[str, Any]]) -> None:
    found = weigh(UFT, "uft", S, batch(), *groups(), updates=2, votes=2)
    assert json.loads(found.batch.extra_info[TERMS]) == [["hint_nll", 0.001, ""]]
    assert plane["1-0_0_0"][term_column(0)].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert "advantages" not in plane["1-0_0_0"], "verl's estimator stays"


def test_a_prompt_without_advantages_of_its_own_keeps_the_estimators(plane: dict[str, dict[str, Any]]) -> None:
    for row in plane.values():
        row["advantages"] = torch.full_like(row["old_log_probs"], 0.25)
    some = replace(
        UFT, weigh=lambda group, s: Weights(torch.ones_like(group.old) if group.key == "p0" else None, terms=())
    )
    weigh(some, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert [plane[key]["advantages"].tolist() for key in KEYS[:4]] == [[1.0] * 4, [0.0] * 3, [1.0] * 5, [0.25] * 2]


def test_a_penalty_on_rewards_takes_nothing_off_a_demonstration(plane: dict[str, dict[str, Any]]) -> None:
    for key, row in plane.items():
        silent = key in FAILED | SHOWN or key.startswith("pad")
        row["token_level_rewards"] = torch.zeros_like(row["rm_scores"]) if silent else row["rm_scores"] - 0.01
    _, (first, second) = groups(shaped=True)
    assert first.scores.tolist() == pytest.approx([0.5 - 4 * 0.01, 0, 1])
    assert second.scores.tolist() == pytest.approx([0.1 - 2 * 0.01])
    assert first.verdicts.tolist() == pytest.approx([0.5, 0, 1])
    assert second.verdicts.tolist() == pytest.approx([0.1])


def test_a_mask_of_ones_own_takes_the_masks_place_until_the_update_is_done(plane: dict[str, dict[str, Any]]) -> None:
    none = replace(UFT, weigh=lambda group, s: Weights(mask=torch.zeros_like(group.gen)))
    found = weigh(none, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert not any(plane[key][name].any() for key in KEYS for name in ("response_mask", "loss_mask"))
    restore_masks(found.batch, found.masks)
    assert [plane[key]["response_mask"].tolist() for key in KEYS] == MASKS


def test_a_row_is_moved_by_its_reward_where_a_trained_token_has_an_advantage(plane: dict[str, dict[str, Any]]) -> None:
    advantages = [[0, 0, 0.5, 0.5], [0, 0, 0], [1, 1, 1, 1, 1], [0.0, -0.2], [0]]
    for key, each in zip(KEYS, advantages, strict=True):
        plane[key]["advantages"] = torch.tensor(each, dtype=torch.float)
    # The demonstration's tokens are not trained by PPO.
    assert moved_by_reward(batch()) == [True, False, False, True, False]
    plane["1-0_0_0"]["response_mask"] = torch.zeros(4, dtype=torch.long)
    assert moved_by_reward(batch()) == [False, False, False, True, False]


def test_the_worker_names_a_column_that_has_not_arrived() -> None:
    from verl.utils import tensordict_utils as tu

    data = TensorDict({"response_mask": torch.ones(1, 2)}, batch_size=1)
    tu.assign_non_tensor(
        data, **{TERMS: json.dumps([["hint_nll", 1.0, ""]]), "global_batch_size": 1, "batch_num_tokens": 2}
    )
    with pytest.raises(KeyError, match=term_column(0)):
        actor_loss(None, {"log_probs": None}, data)
