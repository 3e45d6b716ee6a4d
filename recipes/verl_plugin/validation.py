"""Metrics of a validation: accuracy, pass@k, and the greedy answer in addition to sampled ones."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from eval.metrics import pass_at_k, powers_of_two
from reward_fns import SIGNS, has_failed

GREEDY = "uft_greedy"
"""Key in the reward's report that marks the greedy answer; verl's validation passes on nothing else about an answer."""

TRUNCATED = "truncated"
"""Key in the reward's report: whether the answer was cut off at --max_response_length."""

SEEN = "uft_prompt"
"""Key in the reward's report: the prompt as the model saw it; verl's own copy lacks tokens marked as special."""


def without_truncated(infos: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Sequence[Any]], dict[str, float]]:
    """The reports without SEEN and TRUNCATED, and val/truncated, the share of answers that were cut off."""
    rest = {name: values for name, values in infos.items() if name != SEEN}
    known = [float(each) for each in rest.pop(TRUNCATED, ()) if each is not None]
    return rest, {"val/truncated": fmean(known)} if known else {}


def cut_off(metrics: Mapping[str, float], longest: int) -> str | None:
    """A notice for a run's first validation or an evaluation; None if hardly any answer was cut off."""
    share = metrics.get("val/truncated", 0.0)
    if share < 0.005:
        return None
    return (
        f"{share:.0%} of the model's answers are cut off at --max_response_length {longest}, and truncated answers are "
        f"rarely right"
    )


def parted(infos: Mapping[str, Sequence[Any]], **columns: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A validation's sampled and greedy answers, each as {name of a column: values, "infos": ...}.

    Args:
        infos: the reward functions' reports, by key: a value per answer, None if not reported.
        columns: other data of every answer.
    """
    count = len(next(iter(columns.values())))
    kinds = [bool(value) for value in infos.get(GREEDY, [None] * count)]

    def of(kind: bool) -> dict[str, Any]:
        at = [place for place, each in enumerate(kinds) if each is kind]
        reported = {name: [values[place] for place in at] for name, values in infos.items() if name != GREEDY}
        return {name: [values[place] for place in at] for name, values in columns.items()} | {"infos": reported}

    return of(False), of(True)


def sampled_and_greedy(
    sources: Sequence[Any],
    uids: Sequence[Any],
    infos: Mapping[str, Sequence[Any]],
    asked: Mapping[tuple[str, str], int],
) -> dict[str, float]:
    """`answer_means` and `validation_accuracy` of the sampled answers, and for the greedy ones val/greedy and
    val/greedy/<source>, computed like val/acc.

    Args:
        asked: the expected number of answers per problem, including the greedy one.
    """
    sampled, greedy = parted(infos, sources=sources, uids=uids)
    one = 1 if greedy["uids"] else 0
    found = answer_means(**sampled) | validation_accuracy(**sampled, asked={key: n - one for key, n in asked.items()})
    beside = validation_accuracy(**greedy, asked=dict.fromkeys(asked, 1)) if one else {}
    return found | of_greedy(beside)


def of_greedy(found: Mapping[str, float]) -> dict[str, float]:
    """The accuracies among the metrics of greedy answers, renamed from val/acc* to val/greedy*."""
    return {name.replace("val/acc", "val/greedy"): each for name, each in found.items() if name.startswith("val/acc")}


def answer_means(sources: Sequence[Any], uids: Sequence[Any], infos: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """verl's val-aux/<source>/<name>/mean@n over several answers per problem, without its best@n, worst@n and maj@n.

    For those verl draws a thousand bootstrap samples per problem, metric and n, in Python: 512 answers on the CPU would
    take ten times as long to summarise as to generate.

    Args:
        sources, uids: of every answer.
        infos: the reward functions' reports, by key: a value per answer, None if not reported.
    """
    found = {}
    for name, values in infos.items():
        problems: dict[tuple[str, str], list[float]] = defaultdict(list)
        for source, uid, value in zip(map(str, sources), map(str, uids), values, strict=True):
            if isinstance(value, int | float):
                problems[source, uid].append(float(value))
        for source in {source for source, _ in problems}:
            each = [answers for (of, _), answers in problems.items() if of == source]
            found[f"val-aux/{source}/{name}/mean@{max(map(len, each))}"] = fmean([fmean(answers) for answers in each])
    return found


def validation_accuracy(
    sources: Sequence[Any],
    uids: Sequence[Any],
    infos: Mapping[str, Sequence[Any]],
    asked: Mapping[tuple[str, str], int],
) -> dict[str, float]:
    """val/acc, val/acc/<source>, the number of answers they are computed from, and of failed verdicts; with several
    answers per problem also val/pass@2, @4 ...

    verl's own metrics count an answer whose verdict failed as wrong. Here it is skipped: a problem's accuracy is the
    mean over its answers with a verdict, val/acc/<source> the mean over such problems, val/acc the mean over sources.
    A missing answer counts as wrong, as in verl. val/acc is pass@1, never a best of n; the k of pass@k go up to the
    smallest number of answers of any problem.

    Args:
        sources, uids: of every answer.
        infos: the reward functions' reports, by key: a value per answer, None if not reported.
        asked: the expected number of answers per problem, by (source, uid).
    """
    if not any(value is not None for value in infos.get("acc", ())):
        return {}
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    came: Counter[tuple[str, str]] = Counter()
    known = {str(source) for source, acc in zip(sources, infos["acc"], strict=True) if acc is not None}
    failed = 0
    for place, problem in enumerate(zip(map(str, sources), map(str, uids), strict=True)):
        came[problem] += 1
        if has_failed({sign: infos[sign][place] for sign in SIGNS if sign in infos}):
            failed += 1
        elif problem[0] in known:
            found[problem].append(float(infos["acc"][place] or 0.0))
    for problem, count in asked.items():
        if problem[0] in known and (missing := count - came[problem]) > 0:
            found[problem] += [0.0] * missing
    counts = {"val/answers": float(sum(map(len, found.values()))), "val/failed": float(failed)}
    if not found:
        return counts
    metrics = {}
    graded = any(value not in (0.0, 1.0) for values in found.values() for value in values)
    for k in [1] if graded else powers_of_two(min(map(len, found.values()))):
        by_source: dict[str, list[float]] = defaultdict(list)
        for (source, _), values in found.items():
            by_source[source].append(fmean(values) if k == 1 else pass_at_k(len(values), round(sum(values)), k))
        means = {source: fmean(values) for source, values in by_source.items()}
        metrics["val/acc" if k == 1 else f"val/pass@{k}"] = fmean(list(means.values()))
        if k == 1:
            metrics |= {f"val/acc/{name}": accuracy for name, accuracy in means.items()}
    return {**metrics, **counts}
