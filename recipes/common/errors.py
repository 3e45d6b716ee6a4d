"""Errors that tell the user why a run cannot work."""

import difflib
from collections.abc import Iterable


class ExperimentError(ValueError):
    """Invalid settings or data; the message names the flag, the reason and the fix."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Sentence ending for an unknown word: '; did you mean X?' if a known one is close, else '.'."""
    spelled = {each.lower(): each for each in known}
    close = [spelled[each] for each in difflib.get_close_matches(word.lower(), spelled, n=5)]
    # Prefer completions of the word, then words of similar length: one wrong letter is likelier than two missing ones.
    close.sort(key=lambda each: (not each.lower().startswith(word.lower()), abs(len(each) - len(word)) > 1))
    return f"; did you mean {close[0]!r}?" if close else "."
