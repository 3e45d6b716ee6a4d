"""The places where recipes/verl_plugin holds on to verl and vLLM. A failure here names the file to fix."""

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from recipes.common.machine import flash_attention_installed
from tests import ROOT
from tests.contract.in_a_run import CHECKS, found
from tests.helpers.front_checks import forked

pytestmark = pytest.mark.contract


def expect_parameters(hook: Callable[..., Any], names: str, fix: str) -> None:
    """Fail, naming the file to fix, unless the hook takes exactly these parameters."""
    # Ray adds this one to the methods of an actor's class and of its parents.
    found = ", ".join(name for name in inspect.signature(hook).parameters if name != "_ray_trace_ctx")
    assert found == names, f"{hook.__qualname__} takes ({found}), expected ({names}): fix recipes/verl_plugin/{fix}"


def test_the_tested_version_is_installed() -> None:
    from recipes.verl_plugin.compat import check_verl_version

    check_verl_version()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("on_init_end", "self"),
        ("on_step_begin", "self"),
        ("on_sample_end", "self"),
        ("on_validate_begin", "self"),
        ("_fetch_one_gen_batch", "self"),
        ("_add_prompts_to_generate", "self, num_prompts"),
        ("_balance_batch", "self, batch, metrics, logging_prefix, keep_minibatch"),
        ("_compute_advantage", "self, batch, metrics"),
        ("_update_critic", "self, batch, metrics"),
        ("_update_actor", "self, batch, metrics"),
        ("_validate", "self"),
        (
            "_val_metrics_update",
            "self, data_sources, sample_uids, reward_extra_infos_dict, sample_turns, expected_acc_counts",
        ),
        ("_compute_metrics", "self, batch, metrics, timing_raw, global_steps, epoch"),
        ("_save_checkpoint", "self"),
    ],
)
def test_trainer_methods_we_extend(name: str, parameters: str) -> None:
    from verl.trainer.ppo.v1 import get_trainer_cls

    expect_parameters(getattr(get_trainer_cls("sync"), name), parameters, "trainer.py")


def test_the_step_still_saves_validates_and_reports_in_the_order_we_rely_on() -> None:
    from verl.trainer.ppo.v1 import get_trainer_cls

    source = inspect.getsource(get_trainer_cls("sync").fit)
    places = [source.rindex(part) for part in ("self._save_checkpoint()", "self._validate()", "self._compute_metrics(")]
    assert places == sorted(places), "PPOTrainer.fit changed its order: see _write_checkpoint in trainer.py"


def test_validation_hands_over_how_many_answers_it_asked_for_by_name() -> None:
    from verl.trainer.ppo.v1 import get_trainer_cls

    source = inspect.getsource(get_trainer_cls("sync")._validate)
    assert "expected_acc_counts=expected_acc_counts" in source, "fix trainer.py: _val_metrics_update"
    assert "expected_acc_counts[(str(data_source), str(uid))] = rollout_n" in source


def test_the_actor_takes_a_loss_function() -> None:
    from verl.workers.engine_workers import ActorRolloutRefWorker
    from verl.workers.utils.losses import ppo_loss

    expect_parameters(ActorRolloutRefWorker.set_loss_fn, "self, loss_fn", "trainer.py")
    expect_parameters(ppo_loss, "config, model_output, data, dp_group", "actor_loss.py")


def test_the_estimator_is_called_with_what_it_takes() -> None:
    from verl.trainer.ppo import core_algos

    import recipes.verl_plugin.advantage as ours

    assert core_algos.get_adv_estimator_fn("uft") is ours.uft_advantage


def test_a_batch_of_the_trainer_reaches_the_estimator() -> None:
    """verl's own compute_advantage, with two prompts, hint positions and rewards on the last token."""
    import numpy as np
    import torch
    from tensordict import TensorDict
    from verl import DataProto
    from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

    import recipes.verl_plugin.advantage  # noqa: F401

    mask = torch.tensor([[0, 1, 1], [0, 1, 0], [1, 1, 1], [1, 1, 1]])
    rewards = torch.zeros(4, 3)
    rewards[torch.arange(4), torch.tensor([2, 1, 2, 2])] = torch.tensor([1.0, 0.0, 0.5, 0.5])
    data = DataProto(batch=TensorDict({"token_level_rewards": rewards, "response_mask": mask}, batch_size=4))
    data.non_tensor_batch["uid"] = np.array(["a", "a", "b", "b"], dtype=object)
    done = compute_advantage_for_multi_trajectories(
        data, batch_keys=["a_0_0", "a_1_0", "b_0_0", "b_1_0"], adv_estimator="uft", config={}
    )
    value = 0.5 / (0.5**0.5 + 1e-6)
    expected = torch.tensor([[0, value, value], [0, -value, 0], [0, 0, 0], [0, 0, 0]])
    assert torch.allclose(done.batch["advantages"], expected, atol=1e-5)


def test_agent_loop_hooks() -> None:
    from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput
    from verl.trainer.ppo.v1 import AgentLoopManagerTQ

    expect_parameters(AgentLoopManagerTQ.generate_sequences, "self, prompts", "agent_loop.py")
    assert "sampling_params" in inspect.signature(AgentLoopBase.run).parameters
    assert "messages" in inspect.signature(AgentLoopBase.ct_build_initial_tokens).parameters
    needed = {
        "prompt_ids",
        "response_ids",
        "response_mask",
        "response_logprobs",
        "num_turns",
        "metrics",
        "extra_fields",
    }
    assert needed <= set(AgentLoopOutput.model_fields), "AgentLoopOutput lost a field: fix agent_loop.py"


def test_the_replay_buffer_polls_at_an_interval_we_can_set() -> None:
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    expect_parameters(ReplayBuffer.sample, "self, global_steps, partition_id, batch_size", "dynamic_sampling.py")
    assert "poll_interval" in inspect.signature(ReplayBuffer.__init__).parameters
    assert "self.poll_interval" in inspect.getsource(ReplayBuffer)


def test_sft_trainer_hooks() -> None:
    from verl.trainer import sft_trainer
    from verl.utils.checkpoint.checkpoint_handler import CheckpointHandler

    for name in ("_build_dataloader", "_build_ckpt_handler", "fit"):
        expect_parameters(getattr(sft_trainer.SFTTrainer, name), "self", "sft_main.py")
    expect_parameters(CheckpointHandler.save_checkpoint, "self, step", "sft_main.py")
    expect_parameters(CheckpointHandler._load_dataloader_state, "self, checkpoint_path", "sft_main.py")
    assert "Tracking(" in inspect.getsource(sft_trainer.SFTTrainer.fit), "fit no longer uses the module's Tracking"


def test_run_ppo_takes_our_task_runner() -> None:
    from verl.trainer.main_ppo import run_ppo

    expect_parameters(run_ppo, "config, task_runner_class", "main.py")


def test_vllm_lets_linear_weights_stay_loadable() -> None:
    from importlib.metadata import version

    if "cpu" not in version("vllm"):
        pytest.skip("this vLLM is not a CPU build")
    import vllm.model_executor.layers.utils as layers

    expect_parameters(layers.dispatch_cpu_unquantized_gemm, "layer, remove_weight", "vllm_cpu.py")


def test_two_runs_on_one_machine_do_not_share_the_socket_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a Ray of its own, which numbers its jobs from 1: verl's name for the socket is then the same in both."""
    from verl.workers.rollout.vllm_rollout import ServerAdapter
    from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

    from recipes.verl_plugin.weight_sync import WorkerExtension, own_handle

    monkeypatch.setattr(
        vLLMColocateWorkerExtension, "_get_zmq_handle", lambda self: "ipc:///tmp/rl-colocate-zmq-1.sock"
    )
    extension = object.__new__(WorkerExtension)
    monkeypatch.setenv("RAY_RAYLET_PID", "7")
    assert extension._get_zmq_handle() == "ipc:///tmp/rl-colocate-zmq-7-1.sock"
    assert "/tmp/rl-colocate-zmq-{job_id}" in inspect.getsource(ServerAdapter.__init__), "fix weight_sync.py"
    with pytest.raises(ValueError, match="fix"):
        own_handle("ipc:///tmp/other.sock")


@pytest.fixture(scope="module", params=["at once", "late"])
def in_a_run(request: pytest.FixtureRequest) -> dict[str, str]:
    """What tests/contract/in_a_run.py finds, by check, where verl imports our modules, and where verl was there before.

    The latter is so in a process that unpickles one of verl's classes first.
    """

    def late() -> int:
        importlib.import_module("verl.trainer.sft_trainer")
        assert "recipes.verl_plugin.external" not in sys.modules
        os.environ["UFT_SEED"] = "3"
        torch.set_num_threads(1)  # those of this process did not come along
        importlib.import_module("recipes.verl_plugin.external")
        print(json.dumps(found()))
        return 0

    if request.param == "late":
        done = forked(late)
    else:
        command = [sys.executable, "-m", "tests.contract.in_a_run"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_in_a_process_of_a_run(check: Callable[[], None], in_a_run: dict[str, str]) -> None:
    if check.__name__.startswith("critic") and flash_attention_installed():
        pytest.skip("flash-attention is installed: verl's own way is used")
    assert not in_a_run[check.__name__]


def test_what_those_checks_hold_on_to() -> None:
    from verl.utils import torch_functional
    from verl.utils.fsdp_utils import _select_fsdp2_wrap_targets
    from verl.utils.model import load_valuehead_model

    expect_parameters(load_valuehead_model, "local_path, torch_dtype, model_config, trust_remote_code", "external.py")
    expect_parameters(_select_fsdp2_wrap_targets, "model, fsdp_transformer_layer_cls_to_wrap", "external.py")
    assert "logprobs_from_logits_v2(logits, labels)" in inspect.getsource(torch_functional.logprobs_from_logits)


def test_further_passes_of_the_trainer() -> None:
    """Rows in a partition of our own, scored or learned by the worker group that scores and updates rollouts."""
    import transfer_queue as tq
    from verl.workers.engine_workers import ActorRolloutRefWorker
    from verl.workers.utils.padding import no_padding_2_padding, response_from_nested

    for name in ("compute_log_prob", "update_actor"):
        expect_parameters(getattr(ActorRolloutRefWorker, name), "self, data", "passes.py")
    expect_parameters(tq.kv_batch_put, "keys, partition_id, fields, tags, data_parser", "passes.py, weighing.py")
    expect_parameters(tq.kv_batch_get, "keys, partition_id, select_fields", "passes.py, weighing.py")
    expect_parameters(tq.kv_clear, "keys, partition_id", "passes.py")
    expect_parameters(response_from_nested, "tensor, response_mask", "passes.py")
    expect_parameters(no_padding_2_padding, "tensor, data", "actor_loss.py")
    scored = torch.nested.as_nested_tensor([torch.arange(5.0), torch.arange(3.0)], layout=torch.jagged)
    masks = torch.nested.as_nested_tensor([torch.ones(2), torch.ones(1)], layout=torch.jagged)
    # The log-probability of a token stands one place before it.
    assert [row.tolist() for row in response_from_nested(scored, masks).unbind()] == [[2, 3], [1]]


def test_what_is_validated_is_every_test_freq_th_step_and_the_last() -> None:
    from verl.trainer.ppo.v1 import get_trainer_cls

    source = " ".join(inspect.getsource(get_trainer_cls("sync").fit).split())
    asked = "is_last_step or self.global_steps % self.config.trainer.test_freq == 0"
    assert asked in source, "fix trainer.py: _is_validated"
    assert "is_last_step = self.global_steps >= self.total_training_steps" in source


def test_a_weight_sync_that_fails_says_why_and_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """verl's sender waits for the receiver's answer without a limit, and never hears of its exception."""
    from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

    from recipes.verl_plugin.weight_sync import WorkerExtension
    from recipes.watch.signs import FATAL

    def fails(self: Any, *, use_shm: bool) -> None:
        raise ValueError("There is no module or parameter named 'lm_head' in LlamaForCausalLM")

    monkeypatch.setattr(vLLMColocateWorkerExtension, "update_weights_from_ipc", fails)
    with pytest.raises(ValueError, match="no module or parameter"):
        object.__new__(WorkerExtension).update_weights_from_ipc(use_shm=False)
    said = capsys.readouterr().err
    assert "ValueError: There is no module or parameter named 'lm_head'" in said
    assert any(FATAL.search(line) for line in said.splitlines())
