"""Which of a run's metrics the console shows, and how: those that tell how the algorithm is doing."""

from collections.abc import Mapping

_UNHINTED, _GIVEN, _REWARD = "uft/score/l=0", "uft/hint_frac", "critic/score/mean"

# What an evaluation counts during its one step; "of" is the total.
_COUNTED = ("problems", "texts")


def counted(metrics: Mapping[str, float]) -> tuple[float, float] | None:
    """(done, total) within a step; None if nothing is counted."""
    done = next((metrics[each] for each in _COUNTED if each in metrics), None)
    return None if done is None else (done, metrics.get("of", 0.0))


def of_step(metrics: Mapping[str, float]) -> list[str]:
    """The last step: the reward of rollouts without a hint and the share of the solution given as hints, or the reward
    alone; for supervised training the loss."""
    found = [f"{metrics[each]:.0f} of {metrics.get('of', 0):.0f} {each}" for each in _COUNTED if each in metrics]
    given = metrics.get(_GIVEN, 0.0)
    if given and _UNHINTED in metrics:
        found.append(f"unhinted reward {metrics[_UNHINTED]:.3g}")
    elif _REWARD in metrics:
        found.append(f"reward {metrics[_REWARD]:.3g}" + (" with hints" if given else ""))
    if given:
        found.append(f"{given:.0%} given")
    if "train/loss" in metrics:
        found.append(f"loss {metrics['train/loss']:.3g}")
    if "rewards/accuracy" in metrics:
        found.append(f"ranked right {metrics['rewards/accuracy']:.0%}")
    return found


def of_validation(metrics: Mapping[str, float]) -> list[str]:
    """The last validation and its step."""
    step = metrics.get("val/step")
    if step is None:
        return []
    if "val/acc" in metrics:
        text = f"acc {metrics['val/acc']:.1%}"
    elif "val/loss" in metrics:
        text = f"val loss {metrics['val/loss']:.3g}"
    elif "val/rewards/accuracy" in metrics:
        text = f"val ranked right {metrics['val/rewards/accuracy']:.0%}"
    else:
        return []
    return [f"{text} (step {step:.0f})"]
