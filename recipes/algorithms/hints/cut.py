"""Cuts a hint from a segmented solution: first its text, then its tokens."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any

from recipes.algorithms.base import Algorithm, At, Bare, Demonstration, Hint, Json, Plan
from recipes.algorithms.hints.schedule import MAX_SEGMENTS, generator

_PLACES = re.compile(r"\{\w+\}")

Encode = Callable[[str], list[int]]


def segments_of(hint: Sequence[str]) -> int:
    """Number of segments in a solution of these texts: at most MAX_SEGMENTS."""
    return min(MAX_SEGMENTS, len(hint))


def pieces_at(length: int, n_segments: int, n_texts: int) -> int:
    """Texts in the first `length` of `n_segments` segments: round(length * n_texts / n_segments).

    Rounds half to even, as in the UFT repository, so that lengths match.
    """
    if n_segments == 0 or length == 0:
        return 0
    return n_texts if length == n_segments else round(length * n_texts / n_segments)


def draw_plans(
    algorithm: Algorithm, hint: Sequence[str], s: Any, *, step: int, seed: int, key: str, past: Json, common: Json
) -> list[Plan]:
    """What the rollouts of a prompt start from at a step: one plan for all, or one per rollout.

    Equal arguments give equal plans in every process.

    Raises:
        ValueError: an invalid plan, or the wrong number of plans.
    """
    drawn = algorithm.rollout(At(step, segments_of(hint), past, common), s, generator(seed, step, key))
    plans = drawn if isinstance(drawn, list) else [drawn]
    if fault := next(_faults(algorithm, plans, s, single=plans is not drawn), ""):
        raise ValueError(f"rollout of {algorithm.name} gives {fault}")
    return plans


def _faults(algorithm: Algorithm, plans: list[Any], s: Any, *, single: bool) -> Iterator[str]:
    for plan in plans:
        if not isinstance(plan, Bare | Hint | Demonstration):
            yield f"{plan!r}: must be Bare(), Hint(...) or Demonstration(), or a list of these"
        if isinstance(plan, Hint):
            yield from _odd_hint(plan, algorithm)
    shown = sum(isinstance(plan, Demonstration) for plan in plans)
    if not single and len(plans) != (n := s.n_rollout + algorithm.demonstrations):
        yield (
            f"a list of {len(plans)}: must have {n} plans, one per rollout (--n_rollout {s.n_rollout} + demonstrations="
            f"{algorithm.demonstrations}); return a single plan, not a list, for all rollouts"
        )
    if shown > algorithm.demonstrations or (shown and single):
        yield (
            f"{shown} Demonstration() among {len(plans)} plans, but demonstrations={algorithm.demonstrations}, the "
            f"most a list may have, in addition to --n_rollout others"
        )


def _odd_hint(plan: Hint, algorithm: Algorithm) -> Iterator[str]:
    if not isinstance(plan.segments, Integral) or plan.segments < 0:
        yield f"a Hint with segments={plan.segments!r}: must be an integer of at least 0; Hint(share=.5) gives one half"
    if plan.share is not None and plan.segments:
        yield f"a Hint with segments={plan.segments} and share={plan.share}: set only one of them"
    if plan.share is not None and not (isinstance(plan.share, Real) and 0 <= plan.share <= 1):
        yield f"a Hint with share={plan.share!r}: must be a number from 0 to 1"
    if plan.where not in ("response", "prompt"):
        yield f"a Hint with where={plan.where!r}: must be 'response' or 'prompt'"
    if plan.where == "prompt" and not algorithm.hints_in_prompt:
        yield f"a Hint with where={plan.where!r}: set hints_in_prompt=True"
    if fault := odd_wrap(plan.wrap):
        yield f"a Hint with {fault}"
    if plan.where == "prompt" and len(plan.wrap) > len(algorithm.wrap):
        yield (
            f"a Hint with a wrap of {len(plan.wrap)} characters, but the algorithm's has {len(algorithm.wrap)}, which "
            "sets the prompt limit; set wrap= in ALGORITHM to the longest"
        )


def odd_wrap(wrap: Any) -> str:
    """What is wrong with a hint's template; empty if nothing is."""
    if isinstance(wrap, str) and {"{question}", "{hint}"} <= {*_PLACES.findall(wrap)}:
        return ""
    return f"wrap={wrap!r}: must be a string that contains {{question}} and {{hint}}"


def hint_length(plan: Plan, n_segments: int) -> int:
    """Segments of the solution a plan gives, a share rounded to the nearest; 0 for a demonstration."""
    if not isinstance(plan, Hint):
        return 0
    return min(int(plan.segments), n_segments) if plan.share is None else round(float(plan.share) * n_segments)


def as_record(plan: Plan, n_texts: int) -> dict[str, Any]:
    """A plan as sent to workers: its length in segments and in texts, and whether it is a demonstration."""
    n = min(MAX_SEGMENTS, n_texts)
    length = hint_length(plan, n)
    record: dict[str, Any] = {"length": length, "pieces": pieces_at(length, n, n_texts)}
    if isinstance(plan, Demonstration):
        record["demonstration"] = 1
    elif isinstance(plan, Hint):
        if plan.share is not None:
            record |= {"pieces": round(float(plan.share) * n_texts), "share": float(plan.share)}
        if plan.where == "prompt":
            record["wrap"] = plan.wrap
    return record


def memory_key(key: str) -> str:
    """A prompt's key in an algorithm's memory: a hash (16 hex digits) of its key in draws, which is the full text."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix of two token sequences."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def hint_given(encode: Encode, hint: Sequence[str], pieces: int, solution: str, limit: int) -> tuple[list[int], float]:
    """(ids, share): tokens of the first `pieces` texts, cut from the tokenized `solution`, and the share of texts.

    Cutting between tokens of the whole solution keeps the boundary natural: a token that straddles the cut (a space
    that belongs to the next word, a double newline) is left to the model, and the hint's log-likelihood covers exactly
    tokens that SFT would train on. Whole texts are dropped until at most `limit` tokens remain.

    Raises:
        ValueError: the texts are not a prefix of the solution.
    """
    full = encode(solution)
    for kept in range(pieces, 0, -1):
        text = "".join(hint[:kept])
        if not solution.startswith(text):
            raise ValueError(
                f"the first {kept} texts of column 'hint' are not the start of column 'answer': "
                f"{text[:60]!r} vs. {solution[:60]!r}"
            )
        ids = encode(text)
        shared = common_prefix(ids, full)
        if shared <= limit:
            return full[:shared], kept / len(hint) if shared else 0.0
    return [], 0.0
