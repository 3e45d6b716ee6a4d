"""Where a setting has an effect: by the algorithm, and the stages it trains in on these data. Each says so in a word,
for docs/flags.md."""

from collections.abc import Callable
from inspect import unwrap
from types import CodeType
from typing import Any

from recipes.algorithms import Algorithm, algorithms
from recipes.algorithms.base import grpo

Stages = tuple[str, ...]
Applies = Callable[[Algorithm, Stages], bool]


def everywhere(algorithm: Algorithm, stages: Stages) -> bool:
    """all"""
    return True


def rl(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages"""
    return "rl" in stages


def draws(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages, and with --val_samples trainings that are validated on problems"""
    return True


def validates(algorithm: Algorithm, stages: Stages) -> bool:
    """trainings that are validated on problems"""
    return True


def ppo(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages with PPO's loss"""
    return "rl" in stages and algorithm.loss is None


def critic(algorithm: Algorithm, stages: Stages) -> bool:
    """algorithms with a critic"""
    return "rl" in stages and "critic" in algorithm.needs


def row_loss(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages with a loss of whole rollouts"""
    return "rl" in stages and algorithm.loss is not None


def hints(algorithm: Algorithm, stages: Stages) -> bool:
    """algorithms with hints"""
    return "rl" in stages and algorithm.uses_hints


def clock(algorithm: Algorithm, stages: Stages) -> bool:
    """algorithms whose schedule looks at it"""
    hooks = (algorithm.rollout, algorithm.weigh, algorithm.context, algorithm.remember, algorithm.metrics)
    return "rl" in stages and any(hook is not None and mentions(hook, "T_hint") for hook in hooks)


def mentions(function: Callable[..., Any], name: str, seen: set[CodeType] | None = None) -> bool:
    """Whether a function, or one that it calls by a name of its module, uses that name."""
    function, seen = unwrap(function), set() if seen is None else seen
    code = getattr(function, "__code__", None)
    if code is None or code in seen:
        return False
    seen.add(code)
    known = function.__globals__
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    if name in code.co_names or any(name in part.co_names for part in inner):
        return True
    called = {word for part in (code, *inner) for word in part.co_names}
    return any(mentions(known[word], name, seen) for word in called if callable(known.get(word)))


def hint_term(algorithm: Algorithm, stages: Stages) -> bool:
    """algorithms with the hint's likelihood in the loss"""
    # What a file of one's own does with them, it alone knows.
    known = algorithms().get(algorithm.name) is algorithm
    own = algorithm.weigh is grpo or "sft_loss_coef" in algorithm.settings
    return hints(algorithm, stages) and (own or not known)


def supervised(algorithm: Algorithm, stages: Stages) -> bool:
    """supervised stages"""
    return "sft" in stages


def solutions(algorithm: Algorithm, stages: Stages) -> bool:
    """supervised stages, algorithms with hints"""
    return "sft" in stages or hints(algorithm, stages)


def passes(algorithm: Algorithm, stages: Stages) -> bool:
    """trainings that are passes over rows and nothing else"""
    return stages in (("alignment",), ("sft",))


def problems(algorithm: Algorithm, stages: Stages) -> bool:
    """trainings on problems"""
    return not answers(algorithm, stages)


def answers(algorithm: Algorithm, stages: Stages) -> bool:
    """trainings on answers"""
    return stages == ("alignment",)


def implicit_reward(algorithm: Algorithm, stages: Stages) -> bool:
    """dpo, kto, una and what is made of them"""
    return (answers(algorithm, stages) and algorithm.method is not None) or row_loss(algorithm, stages)


def kto(algorithm: Algorithm, stages: Stages) -> bool:
    """kto"""
    return answers(algorithm, stages) and algorithm.method == "kto"


def una(algorithm: Algorithm, stages: Stages) -> bool:
    """una on answers"""
    return answers(algorithm, stages) and algorithm.method == "una"
