"""A problem with its solution, and a rollout of it with tokenizers of others."""

import asyncio
from types import SimpleNamespace
from typing import Any

from omegaconf import OmegaConf

from data_prep.prompt_styles import STYLES, Question
from data_prep.tokens import chat_template
from recipes.verl_plugin.agent_loop import HINT_COLUMN, HintedAgentLoop
from tests.helpers.agent_loops import ScriptedEngine, settings

END = "<|endoftext|>"


HINT = ["1 + 2 = 3\n", "Therefore, the final equation is (1 + 2) * 4"]


CLOSING = " </think>\n<answer> (1 + 2) * 4 </answer>"


ANSWER = "".join(HINT) + CLOSING


TRUTH = {"numbers": [1, 2, 4], "target": 12}


KINDS = ("plain", "tags", "chat", "thinking", "thinking_tags", "appends")


def style_of(kind: str) -> str:
    return "chat" if kind in ("chat", "thinking", "thinking_tags") else "completion"


def messages(kind: str, question: str = "Make 12 of 1, 2, 4.") -> list[Any]:
    return list(STYLES[style_of(kind)].messages(Question(question, "1 + 2")))


def template(kind: str, made: Any) -> str:
    return chat_template(STYLES[style_of(kind)], made)


def roll(
    made: Any,
    kind: str,
    generated: str | list[int],
    *,
    pieces: int = 0,
    shows: bool = False,
    max_new_tokens: int = 200,
    **columns: Any,
) -> tuple[Any, dict[str, Any]]:
    """A rollout of this text or these tokens through the agent loop, and what the engine was asked."""
    loop = object.__new__(HintedAgentLoop)
    how = {"reward": None, "answer_format": "tags"}
    uft = settings(max_new_tokens=max_new_tokens)
    loop.config = OmegaConf.create({"uft": uft, "reward": {"custom_reward_function": {"reward_kwargs": how}}})
    loop.rollout_config = SimpleNamespace(response_length=400, prompt_length=2000)
    loop.tokenizer, loop.apply_chat_template_kwargs = made, {"chat_template": template(kind, made)}
    if isinstance(generated, str):
        ids = [i for i in made(generated, add_special_tokens=False)["input_ids"] if i != made.eos_token_id]
        generated = [*ids, made.eos_token_id]
    loop.server_manager = ScriptedEngine(generated)
    plan = {"length": pieces, "pieces": pieces} | ({"demonstration": 1} if shows else {})
    planned = {"plans": [plan], "n_segments": 2, "key": "k", "prompt_key": "p"}
    row = {
        "raw_prompt": messages(kind),
        "hint": HINT,
        "answer": ANSWER,
        "data_source": "countdown",
        "reward_model": {"ground_truth": TRUTH},
        "global_steps": 1,
        "session_id": 0,
        HINT_COLUMN: planned,
    }

    async def run() -> Any:
        loop.loop = asyncio.get_running_loop()
        return await loop.run({"temperature": 1.0}, **{**row, **columns})

    return asyncio.run(run()), loop.server_manager.asked
