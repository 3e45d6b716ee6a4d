"""A rollout that fails on purpose: the second session of every prompt of step 2 (see test_training.py)."""

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from recipes.verl_plugin.agent_loop import HintedAgentLoop


class FailingLoop(HintedAgentLoop):
    """The loop of every run, until then."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        if int(row["global_steps"]) == 2 and int(row["session_id"]) == 1:
            raise RuntimeError("a session failed on purpose")
        return await super().run(sampling_params, **row)
