"""Fields of a model's config.json. Values of an unexpected type count as absent; transformers will refuse them."""

from typing import Any

MOST = 10**9
"""More than any field read here can be; json also accepts Infinity."""


def number(config: dict[str, Any], name: str) -> float | None:
    """A finite number of at least 1."""
    found = config.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    return found if 1 <= found <= MOST else None


def whole(config: dict[str, Any], name: str) -> int | None:
    """An integer of at least 1."""
    found = number(config, name)
    return found if isinstance(found, int) else None


def section(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields under a name; empty if there is no such section."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def several(config: dict[str, Any], name: str) -> list[Any] | None:
    """A list, empty for an absent field; None for anything else."""
    found = config.get(name) or []
    return found if isinstance(found, list) else None


def texts(config: dict[str, Any], name: str) -> list[str]:
    """The texts of a list, or a single text as a list."""
    found = config.get(name)
    several = found if isinstance(found, list) else [found]
    return [each for each in several if isinstance(each, str)]
