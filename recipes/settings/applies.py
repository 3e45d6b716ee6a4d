"""Where a setting has an effect: by the algorithm, and the stages it trains in on these data. Each says so in a word,
for docs/flags.md."""

from collections.abc import Callable
from inspect import unwrap
from types import CodeType, FunctionType, ModuleType
from typing import Any

from recipes.algorithms import Algorithm
from recipes.algorithms.base import forget

Stages = tuple[str, ...]
Applies = Callable[[Algorithm, Stages], bool]


def everywhere(algorithm: Algorithm, stages: Stages) -> bool:
    """all"""
    return True


def verl(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement and supervised stages on problems"""
    return "alignment" not in stages


def rl(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages"""
    return "rl" in stages


def draws(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages, and with --val_samples trainings that are validated on problems"""
    return True


def validates(algorithm: Algorithm, stages: Stages) -> bool:
    """trainings that are validated on problems"""
    return True


def validations(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement and supervised stages, and all on answers but kto"""
    return not kto(algorithm, stages)


def ppo(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages with PPO's loss"""
    return "rl" in stages and algorithm.loss is None


def clipped(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages with PPO's policy gradient"""
    return ppo(algorithm, stages) and algorithm.policy_gradient


def by_score(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages with PPO's loss and advantages from scores"""
    weigh = algorithm.weigh
    otherwise = mentions(weigh, "verdicts") or mentions(weigh, "rescored")
    return ppo(algorithm, stages) and (mentions(weigh, "scores") or not otherwise)


def by_variance(algorithm: Algorithm, stages: Stages) -> bool:
    """reinforcement stages that compare rollouts, remember none, and learn nothing else but a hint's likelihood"""
    weigh = algorithm.weigh
    besides = algorithm.demonstrations > 0 or (mentions(weigh, "rescored") and not mentions(weigh, "scores"))
    # What remembers how each prompt went would not hear of those that are replaced.
    return ppo(algorithm, stages) and algorithm.compares_rollouts and algorithm.remember is forget and not besides


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
    """Whether a function uses that name, or one that it calls by a name of its module or of one that is imported there.

    The name may be an attribute or a text (getattr). What has no code to look at may use any.
    """
    function, seen = unwrap(function), set() if seen is None else seen
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    if code is None:
        return True
    if code in seen:
        return False
    seen.add(code)
    own = getattr(function, "__globals__", None) or type(function).__call__.__globals__
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    if any(name in (*part.co_names, *part.co_consts) for part in (code, *inner)):
        return True
    words = {word for part in (code, *inner) for word in part.co_names}
    known = [own[word] for word in words if word in own]
    modules = [each for each in known if isinstance(each, ModuleType)]
    known += [getattr(module, word) for module in modules for word in words if hasattr(module, word)]
    classes = [each if isinstance(each, type) else type(each) for each in known]
    known += [method for each in classes for method in vars(each).values()]
    # Not into libraries, nor what a dataclass has written for it.
    called = [each for each in known if isinstance(each, FunctionType) and not _foreign(each)]
    return any(mentions(each, name, seen) for each in called)


def _foreign(function: FunctionType) -> bool:
    file = str(getattr(unwrap(function), "__code__", function.__code__).co_filename)
    return "site-packages" in file or file == "<string>"


def hint_term(algorithm: Algorithm, stages: Stages) -> bool:
    """algorithms with the hint's likelihood in the loss"""
    read = any(mentions(algorithm.weigh, name) for name in ("sft_loss_coef", "hint_nll_agg"))
    return hints(algorithm, stages) and not algorithm.hints_in_prompt and algorithm.loss is None and read


def supervised(algorithm: Algorithm, stages: Stages) -> bool:
    """supervised stages"""
    return "sft" in stages


def hints_or_supervised(algorithm: Algorithm, stages: Stages) -> bool:
    """supervised stages, algorithms with hints"""
    return "sft" in stages or hints(algorithm, stages)


def reads_solutions(algorithm: Algorithm) -> bool:
    """Whether its reinforcement begins with solutions, shows them in a context or learns them later."""
    hooks = (algorithm.context, algorithm.weigh, algorithm.remember)
    return algorithm.uses_hints or any(hook is not None and mentions(hook, "solution") for hook in hooks)


def solutions(algorithm: Algorithm, stages: Stages) -> bool:
    """supervised stages, algorithms that see solutions"""
    return "sft" in stages or ("rl" in stages and reads_solutions(algorithm))


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
