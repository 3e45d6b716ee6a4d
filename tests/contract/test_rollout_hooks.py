"""What the rollout worker, the engine client and the CPU sampler hold on to in verl and vLLM."""

import asyncio
import inspect
import pickle
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recipes.algorithms.hints.schedule import sampling_seed
from tests.contract.test_verl_hooks import expect_parameters

pytestmark = pytest.mark.contract


def test_the_engine_is_asked_for_one_output_of_token_ids() -> None:
    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from recipes.verl_plugin.agent_loop import TOKENS_AT_THE_END

    source = inspect.getsource(vLLMHttpServer.generate)
    assert "SamplingParams(max_tokens=max_tokens, **sampling_params)" in source, "fix agent_loop.py"
    assert ".text" not in source, "verl reads the text now: drop detokenize=False in agent_loop.py"
    made = SamplingParams(max_tokens=3, **pickle.loads(pickle.dumps(TOKENS_AT_THE_END)))
    assert made.output_kind is RequestOutputKind.FINAL_ONLY
    assert not made.detokenize


def test_the_worker_we_extend() -> None:
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker

    from recipes.verl_plugin.rollout_worker import WorkerTQ

    assert issubclass(WorkerTQ, AgentLoopWorker)
    for hook, names in (
        (AgentLoopWorker._run_agent_loop, "self, sampling_params, trajectory, agent_name, trace, kwargs"),
        (WorkerTQ._agent_loop_postprocess, "self, output, validate, kwargs"),
        (AgentLoopWorker._compute_score, "self, outputs, kwargs"),
    ):
        expect_parameters(hook, names, "rollout_worker.py")


def test_another_agent_loop_goes_verls_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from recipes.verl_plugin.rollout_worker import RolloutWorker, WorkerTQ

    async def verls(self: Any, *positional: Any, **named: Any) -> Any:
        return positional, named

    monkeypatch.setattr(WorkerTQ, "_run_agent_loop", verls)
    worker = object.__new__(RolloutWorker)
    run = worker._run_agent_loop({"top_p": 1}, {"step": 3}, agent_name="theirs", trace=False, uid="u", hint=["a"])
    assert asyncio.run(run) == (
        ({"top_p": 1}, {"step": 3}),
        {"agent_name": "theirs", "trace": False, "uid": "u", "hint": ["a"]},
    )


@pytest.mark.parametrize("validate", [True, False])
def test_an_answer_of_a_validation_says_whether_it_was_cut_off_and_what_the_model_saw(validate: bool) -> None:
    from recipes.verl_plugin.rollout_worker import AGENT_LOOP, RolloutWorker
    from recipes.verl_plugin.validation import SEEN

    class Loop:
        async def run(self, sampling_params: Any, **row: Any) -> Any:
            told = {"uft": {"truncated": 1}, "reward_extra_info": {"acc": 0.0}}
            return SimpleNamespace(extra_fields=told, prompt_ids=[7, 8])

    class Worker(RolloutWorker):
        reward_loop_worker_handles, _loop = None, Loop()  # type: ignore[assignment]
        tokenizer = SimpleNamespace(decode=str)

        async def _compute_score(self, outputs: Any, kwargs: Any) -> None:
            pass

        async def _agent_loop_postprocess(self, output: Any, validate: bool, **row: Any) -> Any:
            return output.extra_fields["reward_extra_info"]

    trajectory = {"step": 0, "sample_index": 0, "rollout_n": 0, "validate": validate}
    run = object.__new__(Worker)._run_agent_loop({}, trajectory, agent_name=AGENT_LOOP, trace=False)
    assert asyncio.run(run) == {"acc": 0.0, **({"truncated": 1, SEEN: "[7, 8]"} if validate else {})}


def test_the_trainer_reads_no_column_of_the_data_that_is_not_stored() -> None:
    """Every field verl's trainer asks the data plane for is one it made itself, or one of `STORED`."""
    import re

    from verl.trainer.ppo.v1 import trainer_base

    from recipes.verl_plugin.rollout_worker import STORED

    columns = {"raw_prompt", "extra_info", "reward_model", "data_source", "hint", "index", "uid", "agent_name"}
    # The one method that runs only where the worker stores whole rows.
    colocated = inspect.getsource(trainer_base.PPOTrainer._compute_reward_colocate)
    source = inspect.getsource(trainer_base).replace(colocated, "")
    lists = re.findall(r"(?:select_fields|fields) ?= ?\[([^\]]*)\]", source)
    read = {name for found in lists for name in re.findall(r'"(\w+)"', found)} & columns
    assert read, "verl's trainer names its fields in another way now: fix this test"
    assert read <= set(STORED), f"verl's trainer reads {read - set(STORED)}: add them to STORED in rollout_worker.py"


class FakeBalancer:
    """Counts what an engine client asks of verl's load balancer."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, value: Any) -> Any:
        class Method:
            def remote(_, **__: Any) -> Any:
                async def answered() -> Any:
                    await asyncio.sleep(0)
                    return value() if callable(value) else value

                return answered()

        return Method()

    def __getattr__(self, name: str) -> Any:
        def acquire() -> tuple[str, str]:
            self.asked += 1
            return "server", "handle"

        return self.answer(acquire if name == "acquire_server" else [])


@pytest.mark.parametrize(("engines", "asked"), [(1, 1), (2, 8)])
def test_one_engine_is_asked_for_once(engines: int, asked: int) -> None:
    from recipes.verl_plugin.rollout_worker import client_class

    balancer = FakeBalancer()
    client = client_class(engines)({}, load_balancer_handle=balancer)  # type: ignore[arg-type]

    async def rollouts() -> list[Any]:
        return await asyncio.gather(*(client._acquire_server(str(number)) for number in range(8)))

    assert asyncio.run(rollouts()) == [("server", "handle")] * 8
    assert balancer.asked == asked


@pytest.mark.skipif("cpu" not in version("vllm"), reason="this vLLM is not a CPU build")
def test_the_cpu_sampler_draws_from_the_distribution_by_each_rows_own_seed() -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    from recipes.verl_plugin.vllm_cpu import _vllm_sample, sample_seeded

    assert list(_vllm_sample.__code__.co_varnames[:5]) == ["self", "logits", "generators", "k", "p"]
    sampler = object.__new__(TopKTopPSampler)
    sampler.logprobs_mode, sampler.use_fp64_gumbel = "processed_logprobs", False
    rows = 4_000
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, -torch.inf]).repeat(rows, 1)

    def draw(k: torch.Tensor | None = None, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        seeds = (sampling_seed(1, start, str(row), 0) for row in range(rows))
        seeded = {row: torch.Generator().manual_seed(seed) for row, seed in enumerate(seeds)}
        tokens, log_probs = sample_seeded(sampler, logits.clone(), seeded, k, None)
        assert log_probs is not None
        return tokens, log_probs

    tokens, log_probs = draw()
    share = logits[0].softmax(0)[:4].double()
    counts = tokens.bincount(minlength=5).double()
    assert counts[4] == 0
    assert ((counts[:4] - rows * share) ** 2 / (rows * share)).sum() < 16.3  # chi-square, 3 degrees, p = .001
    assert torch.equal(log_probs, logits.log_softmax(-1))
    assert torch.equal(tokens, draw()[0])
    assert not torch.equal(tokens, draw(start=1)[0])
    top, log_probs = draw(k=torch.full((rows,), 2))
    assert set(top.tolist()) == {1, 2}
    assert log_probs[0, 0] == -torch.inf


@pytest.mark.skipif("cpu" not in version("vllm"), reason="this vLLM is not a CPU build")
def test_a_seeded_row_draws_the_same_beside_greedy_rows_which_have_no_generator() -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    from recipes.verl_plugin.vllm_cpu import sample_seeded

    sampler = object.__new__(TopKTopPSampler)
    sampler.logprobs_mode, sampler.use_fp64_gumbel = "raw_logprobs", False

    def text(greedy_beside: list[int]) -> list[int]:
        own = torch.Generator().manual_seed(5)
        drawn = (sample_seeded(sampler, torch.zeros(1 + n, 50), {0: own}, None, None)[0] for n in greedy_beside)
        return [int(tokens[0]) for tokens in drawn]

    alone = text([0] * 12)
    assert len(set(alone)) > 6
    assert text([3, 3, 0, 1, 0, 0, 8, 8, 2, 0, 1, 0]) == alone
