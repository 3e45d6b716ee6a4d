"""Rollouts with hints: the manager draws a prompt's plans, the loop appends hint tokens and the model continues.

    prompt  |  hint tokens        generated tokens
            |  response_mask 0    response_mask 1
            |<------------- response ------------->|
A demonstration is a response that was not generated: response_mask is 0 throughout. A hint in the question is part of
the prompt.
The manager runs once, on the driver, and knows whether a batch is for validation, which never gets hints.
The draw, and the sampling seed if rollouts have one, are functions of (seed, step, prompt, rollout), so a resumed run
repeats them.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput
from verl.trainer.ppo.v1 import AgentLoopManagerTQ
from verl.utils import tensordict_utils as tu
from verl.utils.profiler import simple_timer

from data_prep.prompt_styles import STYLES, question_text, with_hint
from data_prep.schema import solution_of
from data_prep.tokens import Opened, closed, decode_response, encode_given, encode_question, end_tokens, opened
from recipes.algorithms import get_algorithm
from recipes.algorithms.base import Bare
from recipes.algorithms.hints.cut import as_record, draw_plans, hint_given, memory_key
from recipes.algorithms.hints.schedule import MAX_SEGMENTS, sampling_seed
from recipes.checks.algorithm_check import told
from recipes.verl_plugin.rollout_worker import RolloutActor
from reward_fns import compute_score, is_quick

HINT_COLUMN = "uft_hint"
"""Column the manager adds to the batch: the plans and the random key of every prompt."""


class _VllmName:
    """Refers to an object of vLLM by name and becomes it when unpickled there: importing vLLM here would cost seconds
    and memory."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return pkgutil.resolve_name, (self.name,)


TOKENS_AT_THE_END: dict[str, Any] = {
    "output_kind": _VllmName("vllm.sampling_params:RequestOutputKind.FINAL_ONLY"),
    "detokenize": False,
}
"""Sampling parameters of a rollout: one output per request, token ids only.

By default vLLM creates a cumulative output with text for every token of every request; verl keeps the last one and
reads its token ids."""


def prompt_key(row: dict[str, Any]) -> str:
    """Identifies a prompt in random draws: its index and its text (files without an index have 0 everywhere)."""
    text = "\n".join(str(message["content"]) for message in row["raw_prompt"])
    return f"{(row.get('extra_info') or {}).get('index', 0)}|{text}"


def plan_batch(
    rows: list[dict[str, Any]], *, settings: DictConfig, step: int, validate: bool, memory: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The hint column of a batch: per row the plans, the random key, and which rollout is greedy (the one after the
    sampled answers of a validation).

    Args:
        memory: {"past": by memory key, "common"} as the algorithm's `remember` left it.

    Raises:
        ValueError: the data has no hint column.
    """
    algorithm, s = get_algorithm(settings.algorithm), hook_settings(settings)
    past, common = (memory or {}).get("past", {}), (memory or {}).get("common")
    column = []
    for row in rows:
        key, hint = prompt_key(row), row.get("hint")
        remembered = memory_key(key)
        plans: list[Any] = [Bare()]
        if algorithm.uses_hints and not validate:
            if hint is None:
                raise ValueError(
                    f"--algo {algorithm.name} needs the column 'hint' (a list of solution steps) in the data"
                )
            about = {"step": step, "seed": settings.seed, "key": key, "past": past.get(remembered), "common": common}
            with told(settings.algorithm, tried=False):
                plans = draw_plans(algorithm, hint, s, **about)
        texts = len(hint) if hint is not None and algorithm.uses_hints and not validate else 0
        column.append(
            {
                "key": key,
                "prompt_key": remembered,
                "n_segments": min(MAX_SEGMENTS, texts),
                "plans": [as_record(plan, texts) for plan in plans],
                "greedy": settings.val_samples if validate and settings.val_samples else None,
            }
        )
    return column


def hook_settings(settings: Any) -> SimpleNamespace:
    """The argument `s` of an algorithm's hooks, from the section `uft` of verl's configuration."""
    return SimpleNamespace(**OmegaConf.to_container(settings.settings))


def rows_of(batch: TensorDict, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a batch of prompts, with those of these columns that it has."""
    known = set(batch.keys())
    present = {name: [item.data for item in batch.get(name)] for name in columns if name in known}
    return [{name: values[i] for name, values in present.items()} for i in range(len(batch))]


class HintedAgentLoopManager(AgentLoopManagerTQ):
    """verl's manager, which draws the plans of a training batch before passing it to the workers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = RolloutActor
        self.memory: dict[str, Any] | None = None
        """The trainer's own dict, which it updates."""

    def generate_sequences(self, prompts: TensorDict) -> None:
        rows = rows_of(prompts, ("raw_prompt", "extra_info", "hint"))
        column = plan_batch(
            rows,
            settings=self.config.uft,
            step=int(prompts["global_steps"]),
            validate="validate" in prompts and bool(prompts["validate"]),
            memory=self.memory,
        )
        tu.assign_non_tensor_stack(prompts, HINT_COLUMN, column)
        super().generate_sequences(prompts)


class HintedAgentLoop(AgentLoopBase):
    """One rollout: prompt + hint go to the inference engine, response = hint + generated tokens."""

    async def ct_build_initial_tokens(self, messages: list[dict[str, Any]], *_: Any, **__: Any) -> list[int]:
        """verl's prompt, except that control tokens in a question are treated as text."""
        return self._cap_text_prompt_length(await self.loop.run_in_executor(None, self._prompt, messages))

    def _prompt(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        return encode_question(self.tokenizer, messages, **self.apply_chat_template_kwargs)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        settings, planned = self.config.uft, row[HINT_COLUMN]
        plans, session = planned["plans"], int(row["session_id"])
        plan = plans[session] if len(plans) > 1 else plans[0]
        messages, hint_record = self._question(row, plan)
        prompt_ids = await self.ct_build_initial_tokens(messages)
        budget = self.rollout_config.response_length
        record = {"length": plan["length"], "n_segments": planned["n_segments"], "prompt_key": planned["prompt_key"]}
        if "share" in plan:
            record["share"] = plan["share"]
        record |= hint_record
        if plan.get("demonstration"):
            ids = self._demonstration(row, budget)
            if ids is not None:
                return self._as_demonstration(row, record, prompt_ids, ids)
            record["no_demonstration"] = 1
        hint_ids: list[int] = []
        if plan["pieces"] and "wrap" not in plan:
            hint = list(row["hint"])
            hint_ids, record["given"] = hint_given(
                partial(encode_given, self.tokenizer, thought=self._opened(row)),
                hint,
                plan["pieces"],
                row.get("answer") or "".join(hint),
                settings.max_hint_length,
            )
        max_tokens = min(settings.max_new_tokens, budget - len(hint_ids))
        if session == planned.get("greedy"):
            record["greedy"] = 1
            sampling_params = {**sampling_params, "temperature": 0.0}
        if settings.request_seeds:
            # The engine's own random stream depends on which requests happen to share a batch.
            seed = sampling_seed(settings.seed, int(row["global_steps"]), planned["key"], session)
            sampling_params = {**sampling_params, "seed": seed}
        metrics: dict[str, Any] = {}
        with simple_timer("generate_sequences", metrics):
            output = await self.server_manager.generate(
                request_id=uuid4().hex,
                prompt_ids=prompt_ids + hint_ids,
                # A copy, because the sessions of a prompt share this dict. max_tokens, because the engine's default
                # would count the hint as part of the prompt.
                sampling_params={**sampling_params, **TOKENS_AT_THE_END, "max_tokens": max_tokens},
            )
        generated = list(output.token_ids)[:max_tokens]
        log_probs = None
        if output.log_probs is not None:
            # The hint has no sampled log-probs; zeros are placeholders that every consumer masks.
            log_probs = [0.0] * len(hint_ids) + list(output.log_probs)[:max_tokens]
        metrics.setdefault("num_preempted", -1 if output.num_preempted is None else output.num_preempted)
        record |= {
            "hint_tokens": len(hint_ids),
            "gen_tokens": len(generated),
            "truncated": int(len(generated) >= max_tokens and generated[-1] not in end_tokens(self.tokenizer)),
        }
        extra = {**output.extra_fields, "uft": record, "turn_scores": [], "tool_rewards": []}
        reward = self._quick_reward(row, hint_ids + generated)
        if reward is not None:
            extra["reward_extra_info"] = reward
        elif settings.pass_question:
            # verl hands extra fields to the reward function as extra_info.
            extra["question"] = question_text(row["raw_prompt"])
        return AgentLoopOutput(
            reward_score=None if reward is None else float(reward["score"]),
            prompt_ids=prompt_ids,
            response_ids=hint_ids + generated,
            response_mask=[0] * len(hint_ids) + [1] * len(generated),
            response_logprobs=log_probs,
            routed_experts=output.routed_experts,
            num_turns=2,
            metrics=metrics,
            extra_fields=extra,
        )

    def _question(self, row: dict[str, Any], plan: dict[str, Any]) -> tuple[list[Any], dict[str, float]]:
        """(messages, additions to the record): the prompt; if the plan puts a hint in the question, with as many of its
        texts as fit within the maximal prompt length."""
        messages = list(row["raw_prompt"])
        if "wrap" not in plan:
            return messages, {}
        room = self.rollout_config.prompt_length
        bare = len(self._prompt(messages))
        for pieces in range(plan["pieces"], 0, -1):
            shown = with_hint(
                messages, STYLES[self.config.uft.prompt_style], "".join(row["hint"][:pieces]), plan["wrap"]
            )
            if (length := len(self._prompt(shown))) <= room:
                given = pieces / len(row["hint"])
                return shown, {"in_prompt": 1, "prompt_hint_tokens": length - bare, "given": given}
        return messages, {"in_prompt": 1, "prompt_hint_tokens": 0, "given": 0.0}

    def _demonstration(self, row: dict[str, Any], budget: int) -> list[int] | None:
        """Token ids of the row's full solution and the end-of-text token; None if it has none or it does not fit."""
        solution = solution_of(row)
        ids = closed(self.tokenizer, solution, self._opened(row)) if solution else []
        return ids if 0 < len(ids) <= budget else None

    def _as_demonstration(
        self, row: dict[str, Any], record: dict[str, Any], prompt_ids: list[int], ids: list[int]
    ) -> AgentLoopOutput:
        """The solution as a response with score 1 that was not generated."""
        step = int(row["global_steps"])
        record |= {"hint_tokens": 0, "gen_tokens": 0, "truncated": 0, "demonstration": 1}
        return AgentLoopOutput(
            reward_score=1.0,
            prompt_ids=prompt_ids,
            response_ids=ids,
            response_mask=[0] * len(ids),
            # Placeholders that every consumer masks; without them verl drops the column for the entire batch.
            response_logprobs=[0.0] * len(ids),
            routed_experts=None,
            num_turns=2,
            metrics={"generate_sequences": 0.0, "num_preempted": -1},
            extra_fields={
                "uft": record,
                "turn_scores": [],
                "tool_rewards": [],
                "reward_extra_info": {},
                # As verl records for rollouts: the step whose weights generated it, i.e. the previous one.
                "min_global_steps": step - 1,
                "max_global_steps": step - 1,
            },
        )

    def _quick_reward(self, row: dict[str, Any], response_ids: list[int]) -> dict[str, Any] | None:
        """The verdict on a response, as verl's reward worker would give it; None if that worker has to be asked.

        A verdict that takes microseconds is not worth a message to another process, which costs milliseconds of the
        single thread that all rollouts of this worker share.
        """
        how = self.config.reward.custom_reward_function.reward_kwargs
        if not is_quick(row["data_source"], how.reward):
            return None
        text = decode_response(self.tokenizer, response_ids)
        return compute_score(row["data_source"], text, row["reward_model"]["ground_truth"], **how)

    def _opened(self, row: dict[str, Any]) -> Opened:
        return opened(self.tokenizer, row["raw_prompt"], **self.apply_chat_template_kwargs)


__all__ = [
    "HINT_COLUMN",
    "HintedAgentLoop",
    "HintedAgentLoopManager",
    "hook_settings",
    "plan_batch",
    "prompt_key",
    "rows_of",
]
