"""Values that name several things, by commas."""

from recipes.common.errors import ExperimentError


def listed(text: str, flag: str, *, distinct: bool = True) -> list[str]:
    """The words of a comma-separated flag; ExperimentError for an empty one or (`distinct`) one that is given twice."""
    words = text.split(",")
    for word in words:
        if not word.strip():
            raise ExperimentError(f"--{flag} {text}: a name is missing between commas")
        if distinct and words.count(word) > 1:
            raise ExperimentError(f"--{flag} {text}: {word} is given twice")
    return words
