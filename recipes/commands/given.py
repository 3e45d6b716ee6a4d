"""What is common to the commands: the machine's defaults, the steering flags, refusals of flags."""

from collections.abc import Iterable, Mapping
from typing import Any

from eval.models import ModelError, Weights, resolve_model
from recipes.common.errors import ExperimentError
from recipes.common.machine import gpu_count
from recipes.flags.resolve import default_profile
from recipes.settings.declare import Setting, declared
from recipes.settings.modes import Several, Steering

_STEERING = declared(Steering)


def refuse_given(flags: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    """Raise ExperimentError if one of these flags was given."""
    for name in names:
        if flags.get(name) is not None:
            raise ExperimentError(f"--{name} {why}")


def tell_machine(flags: Mapping[str, Any]) -> None:
    """Report the defaults chosen for this machine."""
    if flags["model"] is None and flags["profile"] is None:
        profile = default_profile(gpu_count(), None)
        model = profile.model_of(flags["data"])
        print(f"no --model and no --profile given: {model} on profile {profile.name} ({profile.title})")


def steering_of(flags: dict[str, Any]) -> tuple[Steering, dict[str, Any]]:
    """How to run, and the other flags."""
    rest = {name: value for name, value in flags.items() if name not in _STEERING and name not in declared(Several)}
    profile = default_profile(gpu_count(), flags["profile"])
    given = {name: or_default(flags[name], each) for name, each in _STEERING.items()}
    return Steering(**{**given, "profile": profile}), rest


def or_default(value: Any, setting: Setting) -> Any:
    """A flag's value, or its default if it was not given."""
    return setting.default if value is None else value


def weights_of(model: str) -> Weights:
    """`resolve_model`, raising ExperimentError."""
    try:
        return resolve_model(model)
    except ModelError as error:
        raise ExperimentError(str(error)) from None
