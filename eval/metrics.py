"""Metrics of evaluations: pass@k, avg@k, maj@k and the summary of all answers. Pure functions, no files.

Item (one answer): {"problem": 3, "sample": 0, "data_source": "countdown", "tokens": 30, "truncated": false, "acc": 1.0,
"format": 1.0, "parse_fail": 0.0, "reward_error": 0.0, "timeout": 0.0, "pred": "1 + 2", "group": "3 numbers", "vote": 0}
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean

import numpy as np

from eval.intervals import over_problems, over_strata

Item = Mapping[str, object]

ERRORS = {"reward_error": "reward_error", "timeout": "timeout", "truncated": "truncated", "unreadable": "parse_fail"}
"""Why an answer is not correct -> the field that says so, in order of precedence; the rest is "wrong"."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that k of n samples, drawn without replacement, include at least one of the c correct ones.

    1 - C(n-c, k) / C(n, k), Chen et al. (arXiv 2107.03374). Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def average_at_k(correct: Sequence[float]) -> float:
    """Mean over the k samples of one problem: the accuracy of a single sample, measured k times."""
    if not correct:
        raise ValueError("avg@k needs at least one sample")
    return fmean(correct)


def majority_at_k(answers: Sequence[Hashable | None], correct: Sequence[float]) -> float:
    """Is the most frequent of k answers to one problem correct?

    Args:
        answers: what each sample votes for, equal for equal answers (reward_fns.votes); None is unreadable and has no
            vote. Without any vote the value is 0; for a tie it is the expectation of a fair draw.
        correct: the verdict on each.
    """
    if len(answers) != len(correct) or not answers:
        raise ValueError(f"maj@k needs as many answers as verdicts, got {len(answers)} and {len(correct)}")
    votes: dict[Hashable, list[float]] = defaultdict(list)
    for answer, verdict in zip(answers, correct, strict=True):
        if answer is not None:
            votes[answer].append(verdict)
    if not votes:
        return 0.0
    most = max(map(len, votes.values()))
    return fmean(fmean(verdicts) for verdicts in votes.values() if len(verdicts) == most)


def powers_of_two(n: int) -> list[int]:
    """1, 2, 4, ... up to n."""
    return [2**exponent for exponent in range(n.bit_length())]


def chosen_ks(text: str, n_samples: int) -> tuple[int, ...]:
    """The k of pass@k in a comma-separated list, in ascending order; ValueError for one outside 1 to n_samples."""
    words = text.split(",")
    for word in words:
        if not word.strip().isdecimal() or not 1 <= int(word) <= n_samples:
            raise ValueError(f"{text}: {word!r} is not a whole number from 1 to n_samples ({n_samples})")
    return tuple(sorted({int(word) for word in words}))


def error_of(item: Item) -> str | None:
    """Why an answer is not correct, one reason each: a name in ERRORS or "wrong"; None if it is correct.

    Failures of the scoring take precedence over those of the answer, and truncated over unreadable.
    """
    if item["acc"]:
        return None
    for name, key in ERRORS.items():
        if item.get(key):
            return name
    return "wrong"


def summarise(items: Sequence[Item], ks: Sequence[int] | None = None) -> dict[str, object]:
    """All numbers of an evaluation that a table needs, as flat blocks.

    Args:
        ks: the k of pass@k; default 1, 2, 4 .. n.

    Returns:
        {"sources": {data_source: block}, "groups": {data_source: {group: block}} (where items have a group),
        "pooled": block over all answers, "mean_over_sources_unweighted": block}. A block has problems, samples,
        accuracy with accuracy_low and accuracy_high (95 %, over problems), pass@k, avg@n and maj@n (by the field
        `vote`, else by the text read), format_rate, partial, tokens_mean, tokens_p50, tokens_p95, truncation_rate and
        error_<type> (one reason per incorrect answer). n is the least number of samples of any problem.

    Raises:
        ValueError: for no items, a verdict other than 0 or 1, or a repeated sample; names the item.
    """
    if not items:
        raise ValueError("there are no answers to summarise")
    _check(items)
    by_source: dict[str, list[Item]] = defaultdict(list)
    by_group: dict[str, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        source = str(item["data_source"])
        by_source[source].append(item)
        if item.get("group") is not None:
            by_group[source][str(item["group"])].append(item)
    sources = {source: _block(each, ks) for source, each in sorted(by_source.items())}
    return {
        "sources": sources,
        "groups": {
            source: {group: _block(each, ks) for group, each in sorted(groups.items())}
            for source, groups in sorted(by_group.items())
        },
        "pooled": _block(items, ks),
        "mean_over_sources_unweighted": _unweighted(sources, by_source),
    }


def _check(items: Sequence[Item]) -> None:
    seen: Counter[tuple[object, ...]] = Counter()
    for number, item in enumerate(items):
        if item["acc"] not in (0, 1):
            raise ValueError(f"item {number}: acc must be 0 or 1, got {item['acc']!r}")
        key = (item["data_source"], item["problem"], item["sample"])
        seen[key] += 1
        if seen[key] > 1:
            raise ValueError(f"item {number}: {key[0]} problem {key[1]} sample {key[2]} occurs twice")


def _by_problem(items: Sequence[Item]) -> list[list[Item]]:
    problems: dict[tuple[object, object], list[Item]] = defaultdict(list)
    for item in items:
        problems[item["data_source"], item["problem"]].append(item)
    return [sorted(samples, key=lambda item: int(str(item["sample"]))) for samples in problems.values()]


def _accuracies(items: Sequence[Item]) -> list[float]:
    return [average_at_k([_number(item, "acc") for item in samples]) for samples in _by_problem(items)]


def _block(items: Sequence[Item], ks: Sequence[int] | None) -> dict[str, float]:
    problems = _by_problem(items)
    n = min(map(len, problems))
    accuracy = over_problems(_accuracies(items))
    block: dict[str, float] = {
        "problems": len(problems),
        "samples": len(items),
        "accuracy": accuracy.mean,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
    }
    right = [(len(samples), sum(int(_number(item, "acc")) for item in samples)) for samples in problems]
    for k in powers_of_two(n) if ks is None else ks:
        block[f"pass@{k}"] = fmean(pass_at_k(count, correct, k) for count, correct in right)
    first = [samples[:n] for samples in problems]
    block[f"avg@{n}"] = fmean(average_at_k([_number(item, "acc") for item in samples]) for samples in first)
    block[f"maj@{n}"] = fmean(
        majority_at_k(
            [None if _number(item, "parse_fail") else item.get("vote", item["pred"]) for item in samples],
            [_number(item, "acc") for item in samples],
        )
        for samples in first
    )
    tokens = [_number(item, "tokens") for item in items]
    p50, p95 = np.quantile(tokens, [0.5, 0.95])
    errors = Counter(error_of(item) for item in items)
    return block | {
        "format_rate": fmean(_number(item, "format") for item in items),
        "partial": fmean(_number(item, "partial") for item in items),
        "tokens_mean": fmean(tokens),
        "tokens_p50": float(p50),
        "tokens_p95": float(p95),
        "truncation_rate": fmean(_number(item, "truncated") for item in items),
        **{f"error_{name}": errors[name] / len(items) for name in (*ERRORS, "wrong")},
    }


def _unweighted(sources: Mapping[str, Mapping[str, float]], items: Mapping[str, Sequence[Item]]) -> dict[str, float]:
    """Means over sources of what all sources have; problems and samples are sums."""
    blocks = list(sources.values())
    shared = [name for name in blocks[0] if all(name in block for block in blocks)]
    mean = {name: fmean(block[name] for block in blocks) for name in shared}
    accuracy = over_strata([_accuracies(each) for each in items.values()])
    return mean | {
        "problems": sum(block["problems"] for block in blocks),
        "samples": sum(block["samples"] for block in blocks),
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
    }


def _number(item: Item, key: str) -> float:
    """A field as a number; users' reward functions may omit fields."""
    value = item.get(key, 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0
