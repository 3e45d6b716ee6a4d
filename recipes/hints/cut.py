"""From a solution in segments to the hint a rollout starts from: which text, then which tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recipes.hints.schedule import MAX_SEGMENTS, HintLength, HintStep, generator

Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class HintPlan:
    """The hint drawn for one prompt: `length` of `n_segments` scheduling segments = the first `pieces` texts."""

    length: int
    n_segments: int
    pieces: int


NO_HINT = HintPlan(length=0, n_segments=0, pieces=0)


def segments_of(hint: Sequence[str]) -> int:
    """How many segments a solution given as a list of texts is scheduled in: at most MAX_SEGMENTS."""
    return min(MAX_SEGMENTS, len(hint))


def pieces_at(length: int, n_segments: int, n_texts: int) -> int:
    """Cut point: `length` of `n_segments` segments is the first round(length * n_texts / n_segments) texts.

    Python's round (half to even), as in the UFT repository, so that lengths agree with it.
    """
    if n_segments == 0 or length == 0:
        return 0
    return n_texts if length == n_segments else round(length * n_texts / n_segments)


def plan_hint(hint: Sequence[str], schedule: HintLength, *, step: int, T_hint: int, seed: int, key: str) -> HintPlan:
    """Draw the hint of one prompt at one step. The same arguments give the same plan in every process."""
    n = segments_of(hint)
    if n == 0:
        return NO_HINT
    length = schedule(HintStep(step=step, T_hint=T_hint, n_segments=n), generator(seed, step, key))
    return HintPlan(length=length, n_segments=n, pieces=pieces_at(length, n, len(hint)))


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of leading tokens two sequences share."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def hint_tokens(encode: Encode, hint: Sequence[str], pieces: int, solution: str, limit: int) -> list[int]:
    """Token ids of the first `pieces` texts, as the tokenizer writes them inside the whole `solution`.

    Cutting between tokens of the full solution keeps the boundary natural: a token that straddles the cut (a blank
    that belongs to the next word, a double newline) is left to the model, and the hint's log-likelihood is taken on
    exactly the tokens that supervised fine-tuning would train on. Whole texts are dropped until at most `limit`
    tokens remain.
    """
    full = encode(solution)
    for kept in range(pieces, 0, -1):
        text = "".join(hint[:kept])
        if not solution.startswith(text):
            raise ValueError(
                f"the first {kept} texts of column 'hint' are not the start of column 'answer': "
                f"{text[:60]!r} against {solution[:60]!r}"
            )
        ids = encode(text)
        shared = common_prefix(ids, full)
        if shared <= limit:
            return full[:shared]
    return []
