"""Fields of a model's config.json, which may hold anything: what is of another kind counts as absent, and is
transformers' to refuse."""

from typing import Any

MOST = 10**9
"""More than any model has of anything that is read here; json also reads Infinity."""


def number(config: dict[str, Any], name: str) -> float | None:
    """A finite number of at least 1."""
    found = config.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    return found if 1 <= found <= MOST else None


def whole(config: dict[str, Any], name: str) -> int | None:
    """A whole number of at least 1."""
    found = number(config, name)
    return found if isinstance(found, int) else None


def section(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields under a name; none where there is no such section."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def several(config: dict[str, Any], name: str) -> list[Any] | None:
    """A list, an empty one for an absent field; None for anything else."""
    found = config.get(name) or []
    return found if isinstance(found, list) else None


def texts(config: dict[str, Any], name: str) -> list[str]:
    """Texts, also where a single one is no list."""
    found = config.get(name)
    several = found if isinstance(found, list) else [found]
    return [each for each in several if isinstance(each, str)]
