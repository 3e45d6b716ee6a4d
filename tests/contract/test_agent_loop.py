"""Hints of a batch, drawn on the driver, and one rollout through the loop with a scripted engine."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipes.verl_plugin.agent_loop import HINT_COLUMN, HintedAgentLoop, plan_batch, prompt_key

pytestmark = pytest.mark.contract

HINT = ["1 + 2 = 3\n", "3 * 4 = 12\n", "Therefore, the final equation is (1 + 2) * 4"]
ANSWER = "".join(HINT) + " </think>\n<answer> (1 + 2) * 4 </answer>"


def settings(algorithm: str = "uft", **others: Any) -> Any:
    values = {"algorithm": algorithm, "seed": 0, "T_hint": 300, "max_hint_length": 100, "max_new_tokens": 6, **others}
    return OmegaConf.create(values)


def row(index: int = 0) -> dict[str, Any]:
    return {"raw_prompt": [{"role": "user", "content": f"q{index} "}], "extra_info": {"index": index}, "hint": HINT}


def lengths(column: list[dict[str, Any]]) -> list[int]:
    return [entry["length"] for entry in column]


def test_training_rows_get_hints_and_validation_rows_never_do() -> None:
    rows = [row(index) for index in range(50)]
    assert sum(lengths(plan_batch(rows, settings=settings(), step=1, validate=False))) > 100
    assert sum(lengths(plan_batch(rows, settings=settings(), step=1, validate=True))) == 0
    assert sum(lengths(plan_batch(rows, settings=settings("rft"), step=1, validate=False))) == 0
    assert sum(lengths(plan_batch(rows, settings=settings(), step=301, validate=False))) == 0


def test_the_same_step_draws_the_same_hints_whatever_the_batch() -> None:
    rows = [row(index) for index in range(20)]
    whole = plan_batch(rows, settings=settings(T_hint=9), step=4, validate=False)
    alone = [plan_batch([each], settings=settings(T_hint=9), step=4, validate=False)[0] for each in rows]
    assert whole == alone
    assert whole != plan_batch(rows, settings=settings(T_hint=9, seed=1), step=4, validate=False)


def test_a_missing_hint_column_is_named() -> None:
    bare = {name: value for name, value in row().items() if name != "hint"}
    with pytest.raises(ValueError, match="column 'hint'"):
        plan_batch([bare], settings=settings(), step=1, validate=False)
    assert lengths(plan_batch([bare], settings=settings(), step=1, validate=True)) == [0]


def test_a_prompt_is_named_by_its_index_and_text() -> None:
    assert prompt_key(row(3)) == "3|q3 "
    assert prompt_key({"raw_prompt": [{"content": "q"}]}) == "0|q"


class ScriptedEngine:
    """Answers with given tokens and remembers what it was asked."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens, self.asked = tokens, {}

    async def generate(self, **request: Any) -> SimpleNamespace:
        self.asked = request
        return SimpleNamespace(
            token_ids=self.tokens,
            log_probs=[-0.5] * len(self.tokens),
            routed_experts=None,
            num_preempted=None,
            extra_fields={"min_global_steps": 1, "max_global_steps": 1},
        )


def loop(engine: ScriptedEngine, response_length: int = 40) -> HintedAgentLoop:
    """The loop without verl's constructor: characters are tokens, 0 ends a text."""
    made = object.__new__(HintedAgentLoop)
    made.config = OmegaConf.create({"uft": settings()})
    made.rollout_config = SimpleNamespace(response_length=response_length)
    made.server_manager = engine

    def encode(text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}

    encode.eos_token_id = 0  # type: ignore[attr-defined]
    made.tokenizer = encode

    async def initial(messages: list[dict[str, str]], **_: Any) -> list[int]:
        return [ord(character) for character in messages[0]["content"]]

    made.ct_build_initial_tokens = initial  # type: ignore[method-assign]
    return made


def roll(made: HintedAgentLoop, pieces: int, session: int = 0) -> Any:
    plan = {"length": pieces, "n_segments": 3, "pieces": pieces, "key": "0|q0 "}
    sampling = {"temperature": 1.0}
    done = asyncio.run(
        made.run(sampling, **row(), answer=ANSWER, global_steps=1, session_id=session, **{HINT_COLUMN: plan})
    )
    assert sampling == {"temperature": 1.0}, "the sampling parameters are shared by all sessions of a prompt"
    return done


def test_the_hint_is_a_masked_prefix_of_the_response() -> None:
    engine = ScriptedEngine([7, 8, 0])
    done = roll(loop(engine), pieces=1)
    hint = [ord(character) for character in HINT[0]]
    assert engine.asked["prompt_ids"] == [*map(ord, "q0 "), *hint]
    assert done.prompt_ids == [*map(ord, "q0 ")]
    assert done.response_ids == [*hint, 7, 8, 0]
    assert done.response_mask == [0] * len(hint) + [1] * 3
    assert done.response_logprobs == [0.0] * len(hint) + [-0.5] * 3
    assert done.extra_fields["uft"] == {
        "length": 1,
        "n_segments": 3,
        "hint_tokens": len(hint),
        "gen_tokens": 3,
        "truncated": 0,
    }
    assert done.extra_fields["min_global_steps"] == 1


def test_generation_is_bounded_by_its_own_budget_and_by_the_response() -> None:
    engine = ScriptedEngine([7] * 9)
    done = roll(loop(engine), pieces=0)
    assert engine.asked["sampling_params"]["max_tokens"] == 6
    assert done.response_ids == [7] * 6
    assert done.extra_fields["uft"]["truncated"] == 1
    roll(loop(engine, response_length=len(HINT[0]) + 2), pieces=1)
    assert engine.asked["sampling_params"]["max_tokens"] == 2


def test_sessions_of_a_prompt_are_sampled_with_different_repeatable_seeds() -> None:
    seeds = []
    for session in (0, 1, 0):
        engine = ScriptedEngine([7])
        roll(loop(engine), pieces=0, session=session)
        seeds.append(engine.asked["sampling_params"]["seed"])
    assert seeds[0] == seeds[2] != seeds[1]
