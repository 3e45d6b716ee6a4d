"""Comma-separated flags."""

from recipes.common.errors import ExperimentError


def listed(text: str, flag: str, *, distinct: bool = True) -> list[str]:
    """Split a comma-separated flag; ExperimentError for an empty word or, if `distinct`, a duplicate."""
    words = text.split(",")
    for word in words:
        if not word.strip():
            raise ExperimentError(f"--{flag} {text}: a name is missing between commas")
        if distinct and words.count(word) > 1:
            raise ExperimentError(f"--{flag} {text}: {word} is given twice")
    return words
