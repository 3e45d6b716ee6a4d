"""verl's rollout worker and engine client without the work they repeat for every rollout.

On two cores a small model's rollout costs more here than in the engine: see docs/performance.md. The contents of
rollouts do not change.
"""

import asyncio
from typing import Any

import hydra
import ray
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, DictConfigWrap, ToolListWrap, _agent_loop_registry
from verl.trainer.ppo.v1 import agent_loop_tq
from verl.utils.rollout_trace import rollout_trace_attr
from verl.workers.rollout.llm_server import LLMServerClient

from recipes.verl_plugin.config_sections import AGENT_LOOP
from recipes.verl_plugin.shared_puts import share_puts
from recipes.verl_plugin.validation import GREEDY, SEEN, TRUNCATED

WorkerTQ: Any = agent_loop_tq.AgentLoopWorkerTQ.__ray_metadata__.modified_class
"""The class inside verl's actor: an actor class itself cannot be subclassed."""

STORED = ("uid", "session_id", "global_steps", "index", "data_source", "reward_model")
"""Data columns stored with a rollout in verl's data plane, in addition to the rollout itself."""


class RolloutWorker(WorkerTQ):
    """verl's worker with one loop for all rollouts of ours, which are stored without most columns of their data row.

    Our loop keeps no state between rollouts. The trainer reads only the columns `STORED`; the others (messages, hints,
    solutions) would be written once and read by every worker in every phase of a step. Other agent loops are created
    per rollout and stored in full, as in verl.
    """

    _loop: AgentLoopBase | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        share_puts(agent_loop_tq)

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], *, agent_name: str, trace: bool, **row: Any
    ) -> Any:
        if agent_name != AGENT_LOOP:
            return await super()._run_agent_loop(sampling_params, trajectory, agent_name=agent_name, trace=trace, **row)
        if self._loop is None:
            self._loop = hydra.utils.instantiate(
                config=_agent_loop_registry[agent_name],
                trainer_config=DictConfigWrap(config=self.config),
                server_manager=self.llm_client,
                tokenizer=self.tokenizer,
                processor=self.processor,
                hf_model_type=self.hf_model_type,
                dataset_cls=self.dataset_cls,
                data_config=DictConfigWrap(self.config.data),
                tools=ToolListWrap(self.tools),
            )
        with rollout_trace_attr(**trajectory, name="agent_loop", trace=trace):
            output = await self._loop.run(sampling_params, **row)
            await self._compute_score([output], kwargs=row)
            if "greedy" in output.extra_fields["uft"]:
                output.extra_fields.setdefault("reward_extra_info", {})[GREEDY] = 1
            if trajectory["validate"]:
                report = output.extra_fields.setdefault("reward_extra_info", {})
                report[TRUNCATED] = output.extra_fields["uft"]["truncated"]
                report[SEEN] = self.tokenizer.decode(output.prompt_ids)
            # Distillation, and a reward model among the trainer's own workers, need more of the row.
            if self.reward_loop_worker_handles is not None and not self.distillation_enabled:
                row = {name: row[name] for name in STORED if name in row}
            return await self._agent_loop_postprocess(output, trajectory["validate"], **row)


RolloutActor = ray.remote(RolloutWorker)


class OneServerClient(LLMServerClient):
    """A client for a single engine: asks the load balancer once instead of twice per rollout."""

    _server: asyncio.Future[Any] | None = None

    async def _acquire_server(self, request_id: str, **extra: Any) -> Any:
        if self._server is None:
            self._server = asyncio.ensure_future(super()._acquire_server(request_id, **extra))
        return await self._server

    def _release_server(self, server_id: str, request_id: str | None = None) -> None:
        pass


def client_class(n_engines: int) -> type[LLMServerClient]:
    """The engine client class for this many engines."""
    return OneServerClient if n_engines == 1 else LLMServerClient
