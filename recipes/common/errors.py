"""What a person is told of a run that cannot work."""

import difflib
from collections.abc import Iterable


class ExperimentError(ValueError):
    """A run that cannot work: says which flag, why, and what to do."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: '; did you mean X?' when a known one is close, else '.'."""
    spelled = {each.lower(): each for each in known}
    close = [spelled[each] for each in difflib.get_close_matches(word.lower(), spelled, n=5)]
    # What the word is the beginning of; else of two that share as many letters the one that is as long: a letter was
    # mistaken, not two forgotten.
    close.sort(key=lambda each: (not each.lower().startswith(word.lower()), abs(len(each) - len(word)) > 1))
    return f"; did you mean {close[0]!r}?" if close else "."
