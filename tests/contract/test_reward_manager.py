"""Our reward manager: verl's own, but the answer's tags survive decoding."""

import asyncio
import inspect
from typing import Any

import numpy as np
import pytest
import torch

from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.reward_manager import WholeText, manager
from recipes.verl_plugin.verl_config import rl_config
from reward_fns import compute_score
from tests.helpers.token_seams import ANSWER, KINDS, TRUTH, roll
from tests.helpers.tokenizers_of_others import tokenizer
from tests.helpers.verl_configs import FILES, RUN

pytestmark = pytest.mark.contract


def judged(name: str, made: Any, ids: list[int], config: Any = None) -> Any:
    """What verl's reward worker makes of a response."""
    from verl import DataProto

    heard = []

    def score(data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None, **_: Any) -> Any:
        heard.append(solution_str)
        return compute_score(data_source, solution_str, ground_truth)

    async def run() -> Any:
        worker = manager(name)(config, made, score)
        worker.loop = asyncio.get_running_loop()
        # Padded on the right, as a batch is.
        responses = torch.tensor([[*ids, 0, 0]])
        mask = torch.tensor([[1, 1, *([1] * len(ids)), 0, 0]])
        data = DataProto.from_dict(
            tensors={"responses": responses, "prompts": torch.tensor([[5, 5]]), "attention_mask": mask},
            non_tensors={
                "data_source": np.array(["countdown"], dtype=object),
                "reward_model": np.array([{"ground_truth": TRUTH}], dtype=object),
                "extra_info": np.array([{}], dtype=object),
            },
        )
        return await worker.run_single(data)

    return asyncio.run(run()), heard


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_answer_is_paid_by_the_reward_worker(kind: str) -> None:
    made = tokenizer(kind)
    ids = [*(i for i in made(ANSWER, add_special_tokens=False)["input_ids"] if i), made.eos_token_id]
    verdict, heard = judged("naive", made, ids)
    assert heard == [ANSWER]
    assert verdict["reward_score"] == 1.0
    done, _ = roll(made, kind, ANSWER)
    assert verdict["reward_extra_info"] == done.extra_fields["reward_extra_info"]


def test_verls_own_manager_loses_the_tags() -> None:
    """What ours is for; once verl keeps them, reward_manager.py can go."""
    from verl.experimental.reward_loop.reward_manager.registry import REWARD_MANAGER

    for name, verls in REWARD_MANAGER.items():
        source = inspect.getsource(verls)
        assert source.count("self.tokenizer.decode(valid_response_ids, skip_special_tokens=True)") == 1, name
        assert "batch_decode" not in source, name
        assert issubclass(manager(name), verls)
    made = tokenizer("tags")
    ids = torch.tensor(made(ANSWER, add_special_tokens=False)["input_ids"])
    assert "<answer>" not in made.decode(ids, skip_special_tokens=True)
    assert WholeText(made).decode(ids, skip_special_tokens=True) == ANSWER
    assert WholeText(made).eos_token_id == made.eos_token_id


@pytest.mark.parametrize("name", ["naive", "dapo"])
def test_verl_finds_our_manager_by_its_own_name(name: str) -> None:
    from verl.trainer.ppo.reward import resolve_reward_manager_cls

    from recipes.verl_plugin.compose import compose_config

    experiment = build_experiment({"algo": "rft", "data": "countdown"}, PROFILES["cpu"])
    values = rl_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    overrides = [] if name == "naive" else [f"reward.reward_manager.name={name}"]
    config = compose_config("ppo_trainer", values, overrides)
    assert resolve_reward_manager_cls(config) is manager(name)
    with pytest.raises(AttributeError, match="nobody"):
        resolve_reward_manager_cls(compose_config("ppo_trainer", values, ["reward.reward_manager.name=nobody"]))
