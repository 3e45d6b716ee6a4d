"""From a solution in segments to the hint a rollout starts from: which text, then which tokens."""

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
    """How many segments a solution given as a list of texts is scheduled in: at most MAX_SEGMENTS."""
    return min(MAX_SEGMENTS, len(hint))


def pieces_at(length: int, n_segments: int, n_texts: int) -> int:
    """Cut point: `length` of `n_segments` segments is the first round(length * n_texts / n_segments) texts.

    Python's round (half to even), as in the UFT repository, so that lengths agree with it.
    """
    if n_segments == 0 or length == 0:
        return 0
    return n_texts if length == n_segments else round(length * n_texts / n_segments)


def draw_plans(
    algorithm: Algorithm, hint: Sequence[str], s: Any, *, step: int, seed: int, key: str, past: Json, common: Json
) -> list[Plan]:
    """What the rollouts of one prompt start from at one step: one plan for all of them, or one for each.

    The same arguments give the same plans in every process.

    Raises:
        ValueError: for what is no plan, or another number of them.
    """
    drawn = algorithm.rollout(At(step, segments_of(hint), past, common), s, generator(seed, step, key))
    plans = drawn if isinstance(drawn, list) else [drawn]
    if fault := next(_faults(algorithm, plans, s, alone=plans is not drawn), ""):
        raise ValueError(f"rollout of {algorithm.name} gives {fault}")
    return plans


def _faults(algorithm: Algorithm, plans: list[Any], s: Any, *, alone: bool) -> Iterator[str]:
    for plan in plans:
        if not isinstance(plan, Bare | Hint | Demonstration):
            yield f"{plan!r}: must be Bare(), Hint(...) or Demonstration(), or a list of these"
        if isinstance(plan, Hint):
            yield from _odd_hint(plan, algorithm)
    shown = sum(isinstance(plan, Demonstration) for plan in plans)
    if not alone and len(plans) != (n := s.n_rollout + algorithm.demonstrations):
        yield (
            f"a list of {len(plans)}: a list has {n} plans, one for each (--n_rollout {s.n_rollout} + demonstrations="
            f"{algorithm.demonstrations}); one for all rollouts is given without a list"
        )
    if shown > algorithm.demonstrations or (shown and alone):
        yield (
            f"{shown} Demonstration() among {len(plans)} plans, but demonstrations={algorithm.demonstrations}: a list "
            f"may have that many, beside --n_rollout others"
        )


def _odd_hint(plan: Hint, algorithm: Algorithm) -> Iterator[str]:
    if not isinstance(plan.segments, Integral) or plan.segments < 0:
        yield f"a Hint with segments={plan.segments!r}: must be a whole number from 0; Hint(share=.5) is a half"
    if plan.share is not None and plan.segments:
        yield f"a Hint with segments={plan.segments} and share={plan.share}: give one of them"
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
            f"a Hint with a wrap of {len(plan.wrap)} characters, the algorithm's has {len(algorithm.wrap)}: prompts "
            "are measured by the latter; write wrap= of the longest into ALGORITHM"
        )


def odd_wrap(wrap: Any) -> str:
    """What is wrong with the text a hint stands in; empty if nothing is."""
    if isinstance(wrap, str) and {"{question}", "{hint}"} <= {*_PLACES.findall(wrap)}:
        return ""
    return f"wrap={wrap!r}: must be a text with {{question}} and {{hint}} in it"


def hint_length(plan: Plan, n_segments: int) -> int:
    """How many of a solution's segments a plan gives, a share to the nearest; none of a demonstration."""
    if not isinstance(plan, Hint):
        return 0
    return min(int(plan.segments), n_segments) if plan.share is None else round(float(plan.share) * n_segments)


def as_record(plan: Plan, n_texts: int) -> dict[str, Any]:
    """A plan as it travels to the workers: the length in segments, the texts it is, whether it is a demonstration."""
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
    """A prompt's key in an algorithm's memory: 16 hex digits of its key in random draws, which holds its whole text."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of leading tokens two sequences share."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def hint_tokens(encode: Encode, hint: Sequence[str], pieces: int, solution: str, limit: int) -> list[int]:
    """The tokens of `hint_given`."""
    return hint_given(encode, hint, pieces, solution, limit)[0]


def hint_given(encode: Encode, hint: Sequence[str], pieces: int, solution: str, limit: int) -> tuple[list[int], float]:
    """(ids, share): the first `pieces` texts as the tokenizer writes them inside the whole `solution`, and which part
    of all texts that is: less than was planned where they are too long.

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
            return full[:shared], kept / len(hint) if shared else 0.0
    return [], 0.0
