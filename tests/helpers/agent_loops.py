"""A scripted engine, and the settings of an agent loop."""

from types import SimpleNamespace
from typing import Any

from omegaconf import OmegaConf


def settings(algorithm: str = "uft", **others: Any) -> Any:
    values = {"algorithm": algorithm, "seed": 0, "max_hint_length": 100, "max_new_tokens": 6, "pass_question": False}
    values["request_seeds"] = True
    values["val_samples"] = 0
    values["settings"] = {"T_hint": others.pop("T_hint", 300), "n_rollout": 2}
    values |= others
    return OmegaConf.create(values)


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
