"""Tokens and passwords stay out of what a run writes down: its settings stand in experiment.yaml, logs and trackers."""

import re

from recipes.common.errors import ExperimentError
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment

_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|://[^/\s:@]*:[^/\s:@]+@|\bBearer\s+\S+"
)
"""Tokens of Hugging Face, OpenAI and those like it, GitHub and AWS; a password in an address, a token of a header."""

_NAME = re.compile(
    r"(^|[._])((api|access|private|wandb)_?key|(auth|access|hf|bearer)_token|token|secret(_\w+)?|credentials?"
    r"|pass(word|wd|phrase)|pwd)$",
    re.I,
)
"""Last part of the name of what takes one: an override, or an entry of a mapping in its value."""

_ENTRY = re.compile(r"[{,]\s*['\"]?([\w.]+)['\"]?\s*:\s*([^,}]*)")


def refuse_secrets(experiment: Experiment) -> None:
    """Raise ExperimentError for a setting or an override that holds a secret; the message does not repeat it."""
    settings = {f"--{name}": str(getattr(experiment, name)) for name in declared(Experiment) if name != "overrides"}
    found = [where for where, text in settings.items() if _VALUE.search(text)]
    for override in experiment.overrides:
        name, _, value = override.partition("=")
        entries = [(name.lstrip("+~"), value), *_ENTRY.findall(value)]
        named = any(_NAME.search(key) and held.strip("'\" ") not in ("", "null", "None") for key, held in entries)
        found += [f"-- {name}"] if named or _VALUE.search(override) else []
    if found:
        raise ExperimentError(
            f"{found[0]}: holds what looks like a token or password, which would be written into the run's folder; "
            f"give it by the environment (HF_TOKEN, WANDB_API_KEY) instead"
        )
