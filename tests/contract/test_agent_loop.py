"""Hints of a batch, drawn on the driver, and one rollout through the loop with a scripted engine."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipes.verl_plugin.agent_loop import HINT_COLUMN, HintedAgentLoop, plan_batch, prompt_key
from recipes.verl_plugin.metrics import hint_metrics
from reward_fns import compute_score
from tests.helpers.agent_loops import ScriptedEngine, settings

pytestmark = pytest.mark.contract

HINT = ["1 + 2 = 3\n", "3 * 4 = 12\n", "Therefore, the final equation is (1 + 2) * 4"]
ANSWER = "".join(HINT) + " </think>\n<answer> (1 + 2) * 4 </answer>"


def row(index: int = 0) -> dict[str, Any]:
    truth = {"ground_truth": {"numbers": [1, 2, 4], "target": 12}}
    asked = [{"role": "user", "content": f"q{index} "}]
    return {
        "raw_prompt": asked,
        "extra_info": {"index": index},
        "hint": HINT,
        "data_source": "countdown",
        "reward_model": truth,
    }


def lengths(column: list[dict[str, Any]]) -> list[int]:
    return [entry["plans"][0]["length"] for entry in column]


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


class Characters:
    """A tokenizer whose tokens are characters; 0 ends a text."""

    eos_token_id = 0

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return "".join(chr(token) for token in ids if token or not skip_special_tokens)


def loop(
    engine: ScriptedEngine, response_length: int = 40, reward: str | None = None, prompt_length: int = 100, **uft: Any
) -> HintedAgentLoop:
    """The loop without verl's constructor."""
    made = object.__new__(HintedAgentLoop)
    how = {"reward": reward, "answer_format": "tags"}
    made.config = OmegaConf.create(
        {"uft": settings(**uft), "reward": {"custom_reward_function": {"reward_kwargs": how}}}
    )
    made.rollout_config = SimpleNamespace(response_length=response_length, prompt_length=prompt_length)
    made.server_manager = engine
    made.apply_chat_template_kwargs = {}

    made.tokenizer = Characters()

    async def initial(messages: list[dict[str, str]], **_: Any) -> list[int]:
        return [ord(character) for character in messages[0]["content"]]

    def at_once(messages: list[dict[str, str]]) -> list[int]:
        return [ord(character) for character in messages[0]["content"]]

    made.ct_build_initial_tokens = initial  # type: ignore[method-assign]
    made._prompt = at_once  # type: ignore[method-assign]
    return made


def roll(
    made: HintedAgentLoop,
    pieces: int,
    session: int = 0,
    plans: list[dict[str, Any]] | None = None,
    greedy: int | None = None,
) -> Any:
    drawn = plans or [{"length": pieces, "pieces": pieces}]
    plan = {"plans": drawn, "greedy": greedy, "n_segments": 3, "key": "0|q0 ", "prompt_key": "p"}
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
        "prompt_key": "p",
        "given": pytest.approx(1 / 3),
        "hint_tokens": len(hint),
        "gen_tokens": 3,
        "truncated": 0,
    }
    assert done.extra_fields["min_global_steps"] == 1


def test_the_last_answer_of_a_sampled_validation_is_greedy() -> None:
    several = settings(val_samples=2)
    (planned,) = plan_batch([row()], settings=several, step=1, validate=True)
    assert planned["greedy"] == 2
    assert plan_batch([row()], settings=several, step=1, validate=False)[0]["greedy"] is None
    assert plan_batch([row()], settings=settings(), step=1, validate=True)[0]["greedy"] is None
    for session, temperature in ((0, 1.0), (1, 1.0), (2, 0.0)):
        engine = ScriptedEngine([7, 0])
        done = roll(loop(engine), pieces=0, session=session, plans=planned["plans"], greedy=planned["greedy"])
        assert engine.asked["sampling_params"]["temperature"] == temperature
        assert ("greedy" in done.extra_fields["uft"]) == (session == 2)


def test_a_hint_in_the_question_is_prompt_and_loses_whole_texts_until_it_fits() -> None:
    plans = [{"length": 2, "pieces": 2, "wrap": "{question}<{hint}>"}]
    shown = [f"q0 <{''.join(HINT[:pieces])}>" for pieces in (1, 2)]
    for room, text in ((len(shown[1]), shown[1]), (len(shown[1]) - 1, shown[0]), (len(shown[0]) - 1, "q0 ")):
        engine = ScriptedEngine([7, 0])
        done = roll(loop(engine, prompt_length=room, prompt_style="none"), pieces=2, plans=plans)
        assert "".join(map(chr, done.prompt_ids)) == text
        assert engine.asked["prompt_ids"] == done.prompt_ids
        assert (done.response_ids, done.response_mask) == ([7, 0], [1, 1])
        record = done.extra_fields["uft"]
        assert (record["hint_tokens"], record["in_prompt"]) == (0, 1)
        assert record["prompt_hint_tokens"] == len(text) - len("q0 ")


def test_the_record_holds_the_hint_that_was_given_and_not_the_planned_one() -> None:
    done = roll(loop(ScriptedEngine([7, 0]), max_hint_length=len(HINT[0]) + 3), pieces=3)
    record = done.extra_fields["uft"]
    assert (record["length"], record["hint_tokens"]) == (3, len(HINT[0]))
    found = hint_metrics([record], [1.0])
    assert found["uft/hint_frac"] == pytest.approx(1 / 3)
    assert found["uft/score/l=1"] == 1.0
    assert "uft/score/l=3" not in found


def test_a_hint_in_the_question_is_counted_as_it_was_given() -> None:
    made = loop(ScriptedEngine([7, 0]), prompt_length=len("q0 ") + len(HINT[0]) + 3, prompt_style="none")
    done = roll(made, pieces=3, plans=[{"length": 3, "pieces": 3, "wrap": "{question}{hint}"}])
    record = done.extra_fields["uft"]
    assert (record["given"], record["hint_tokens"]) == (pytest.approx(1 / 3), 0)
    found = hint_metrics([record], [1.0])
    assert found["uft/hint_frac"] == pytest.approx(1 / 3)
    assert found["uft/hint_tokens"] == record["prompt_hint_tokens"] == len(HINT[0])
    assert found["uft/score/l=1"] == 1.0


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


def test_without_seeds_of_their_own_rollouts_take_the_engines_and_keep_their_hints() -> None:
    """As on a GPU, where vLLM draws seeded rows one by one."""
    asked = []
    for own in (True, False):
        engine = ScriptedEngine([5, 0])
        roll(loop(engine, request_seeds=own), pieces=1, session=0)
        asked.append(engine.asked)
    seeded, plain = (each["sampling_params"] for each in asked)
    assert {name: value for name, value in seeded.items() if name != "seed"} == plain
    assert "seed" in seeded
    assert asked[0]["prompt_ids"] == asked[1]["prompt_ids"]


def test_a_quick_reward_is_given_here_as_the_reward_worker_gives_it() -> None:
    generated = ANSWER[len(HINT[0]) :]
    done = roll(loop(ScriptedEngine([*map(ord, generated), 0]), 400, max_new_tokens=200), pieces=1)
    assert done.reward_score == 1.0
    assert done.extra_fields["reward_extra_info"] == compute_score(
        "countdown", ANSWER, row()["reward_model"]["ground_truth"], reward=None, answer_format="tags"
    )
    assert "question" not in done.extra_fields
    wrong = roll(loop(ScriptedEngine([7, 0])), pieces=0)
    assert wrong.reward_score == 0.0
    assert wrong.extra_fields["reward_extra_info"]["parse_fail"] == 1.0


@pytest.mark.parametrize("reward", ["math", "mine.py:reward"])
def test_a_reward_that_may_take_long_is_left_to_the_reward_worker(reward: str) -> None:
    done = roll(loop(ScriptedEngine([7, 0]), reward=reward, pass_question=True), pieces=0)
    assert done.reward_score is None
    assert "reward_extra_info" not in done.extra_fields
    assert done.extra_fields["question"] == "q0 "


SHOWN = [{"length": 0, "pieces": 0}, {"length": 0, "pieces": 0, "demonstration": 1}]


def test_a_demonstration_is_the_solution_as_a_response_that_nobody_generated() -> None:
    engine = ScriptedEngine([7])
    done = roll(loop(engine, 400), pieces=0, session=1, plans=SHOWN)
    assert engine.asked == {}
    assert done.response_ids == [*map(ord, ANSWER), 0]
    assert done.response_mask == [0] * len(done.response_ids)
    assert done.response_logprobs == [0.0] * len(done.response_ids)
    assert done.reward_score == 1.0
    assert done.extra_fields["uft"]["demonstration"] == 1
    drawn = roll(loop(engine, 400), pieces=0, session=0, plans=SHOWN)
    assert drawn.response_ids == [7]


def test_a_demonstration_that_does_not_fit_is_a_rollout_from_the_bare_prompt_and_counted() -> None:
    engine = ScriptedEngine([7, 0])
    done = roll(loop(engine, len(ANSWER)), pieces=0, session=1, plans=SHOWN)
    assert done.response_ids == [7, 0]
    assert done.response_mask == [1, 1]
    assert done.extra_fields["uft"]["no_demonstration"] == 1


def test_the_bare_answer_of_a_row_without_a_solution_is_no_demonstration() -> None:
    """It would teach to answer without a thought."""
    engine, made = ScriptedEngine([7, 0]), loop(ScriptedEngine([7, 0]), 400)
    made.server_manager = engine
    plan = {"plans": SHOWN, "greedy": None, "n_segments": 0, "key": "0|q0 ", "prompt_key": "p"}
    without = {**row(), "hint": []}
    sampling = {"temperature": 1.0}
    done = asyncio.run(
        made.run(sampling, **without, answer=ANSWER, global_steps=1, session_id=1, **{HINT_COLUMN: plan})
    )
    assert done.response_ids == [7, 0]
    assert done.extra_fields["uft"]["no_demonstration"] == 1


def test_the_plans_of_luffy_are_bare_rollouts_and_one_demonstration() -> None:
    entry = plan_batch([row()], settings=settings("luffy"), step=1, validate=False)[0]
    assert [plan.get("demonstration", 0) for plan in entry["plans"]] == [0, 0, 1]
    validated = plan_batch([row()], settings=settings("luffy"), step=1, validate=True)[0]
    assert validated["plans"] == [{"length": 0, "pieces": 0}]
