"""Keep tokens and passwords out of a run's settings, which are written to experiment.yaml, logs and trackers."""

import re

from recipes.common.errors import ExperimentError
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment

_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|://[^/\s:@]*:[^/\s:@]+@|\bBearer\s+\S+"
)
"""Tokens of Hugging Face, OpenAI and similar, GitHub and AWS; a password in a URL; a bearer token in a header."""

_NAME = re.compile(
    r"(^|[._])((api|access|private|wandb)_?key|(auth|access|hf|bearer)_token|token|secret(_\w+)?|credentials?"
    r"|pass(word|wd|phrase)|pwd)$",
    re.I,
)
"""Last part of the name of an override, or of an entry of a mapping in its value, that holds a secret."""

_ENTRY = re.compile(r"[{,]\s*['\"]?([\w.]+)['\"]?\s*:\s*([^,}]*)")


def refuse_secrets(experiment: Experiment) -> None:
    """Raise ExperimentError for a setting or override that holds a secret; the message does not repeat it."""
    settings = {f"--{name}": str(getattr(experiment, name)) for name in declared(Experiment) if name != "overrides"}
    found = [where for where, text in settings.items() if _VALUE.search(text)]
    for override in experiment.overrides:
        name, _, value = override.partition("=")
        entries = [(name.lstrip("+~"), value), *_ENTRY.findall(value)]
        named = any(_NAME.search(key) and held.strip("'\" ") not in ("", "null", "None") for key, held in entries)
        found += [f"-- {name}"] if named or _VALUE.search(override) else []
    if found:
        raise ExperimentError(
            f"{found[0]}: looks like a token or password and would be written to the run's folder; "
            f"use an environment variable (HF_TOKEN, WANDB_API_KEY) instead"
        )
