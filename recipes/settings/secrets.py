"""Tokens and passwords stay out of what a run writes down: its settings stand in experiment.yaml, logs and trackers."""

import re

from recipes.common.errors import ExperimentError
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment

_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|://[^/\s:@]*:[^/\s:@]+@"
)
"""Tokens of Hugging Face, OpenAI and those like it, GitHub and AWS; a password in an address."""

_NAME = re.compile(r"(^|[._])(api_?key|access_?key|(auth|access|hf|bearer)_token|token|secret(_\w+)?|password)$", re.I)
"""Last part of the name of an override that takes one."""


def refuse_secrets(experiment: Experiment) -> None:
    """Raise ExperimentError for a setting or an override that holds a secret; the message does not repeat it."""
    settings = {f"--{name}": str(getattr(experiment, name)) for name in declared(Experiment) if name != "overrides"}
    found = [where for where, text in settings.items() if _VALUE.search(text)]
    for override in experiment.overrides:
        name, _, value = override.partition("=")
        named = _NAME.search(name.lstrip("+~")) and value.strip("'\" ") not in ("", "null", "None")
        found += [f"-- {name}"] if named or _VALUE.search(override) else []
    if found:
        raise ExperimentError(
            f"{found[0]}: holds what looks like a token or password, which would be written into the run's folder; "
            f"give it by the environment (HF_TOKEN, WANDB_API_KEY) instead"
        )
