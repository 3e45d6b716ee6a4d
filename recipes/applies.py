"""Where a setting has an effect: by the algorithm, and the stages it trains in on these data."""

from collections.abc import Callable

from recipes.algorithms import Algorithm, algorithms
from recipes.algorithms.base import grpo

Stages = tuple[str, ...]
Applies = Callable[[Algorithm, Stages], bool]


def everywhere(algorithm: Algorithm, stages: Stages) -> bool:
    return True


def rl(algorithm: Algorithm, stages: Stages) -> bool:
    return "rl" in stages


def problems(algorithm: Algorithm, stages: Stages) -> bool:
    """Stages that train on problems with a verifier."""
    return not answers(algorithm, stages)


def supervised(algorithm: Algorithm, stages: Stages) -> bool:
    return "sft" in stages


def one_pass_count(algorithm: Algorithm, stages: Stages) -> bool:
    """Trainings that are nothing but passes over rows."""
    return stages in (("alignment",), ("sft",))


def ppo(algorithm: Algorithm, stages: Stages) -> bool:
    return "rl" in stages and algorithm.loss is None


def critic(algorithm: Algorithm, stages: Stages) -> bool:
    return "rl" in stages and "critic" in algorithm.needs


def row_loss(algorithm: Algorithm, stages: Stages) -> bool:
    return "rl" in stages and algorithm.loss is not None


def hints(algorithm: Algorithm, stages: Stages) -> bool:
    return "rl" in stages and algorithm.uses_hints


def solutions(algorithm: Algorithm, stages: Stages) -> bool:
    return "sft" in stages or hints(algorithm, stages)


def hint_term(algorithm: Algorithm, stages: Stages) -> bool:
    # What a file of one's own does with them, it alone knows.
    known = algorithms().get(algorithm.name) is algorithm
    own = algorithm.weigh is grpo or "sft_loss_coef" in algorithm.settings
    return hints(algorithm, stages) and (own or not known)


def answers(algorithm: Algorithm, stages: Stages) -> bool:
    return stages == ("alignment",)


def implicit_reward(algorithm: Algorithm, stages: Stages) -> bool:
    return (answers(algorithm, stages) and algorithm.method is not None) or row_loss(algorithm, stages)


def una(algorithm: Algorithm, stages: Stages) -> bool:
    return answers(algorithm, stages) and algorithm.method == "una"
