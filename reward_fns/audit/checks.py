"""The checks of an audit, run in killable workers, and the table of findings."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reward_fns.audit.answers import Answer, empty, endless, executables, other_blanks, shams
from reward_fns.audit.names import CANARY, SCORER
from reward_fns.audit.rows import AuditRow, rows_for
from reward_fns.pool import Pool
from reward_fns.registry import is_custom, is_graded

_PROBE = "reward_fns.audit.probe:call"
_SHOWN = 70
# Long enough to tell a hang from a slow answer on a busy machine.
SECONDS = 10.0
_MEMORY_MB = 4096


@dataclass(frozen=True)
class Finding:
    """The result of one check: "fault" makes the exit code 1, "note" is worth knowing."""

    question: str
    verdict: Literal["ok", "note", "fault"]
    detail: str


@dataclass(frozen=True)
class Report:
    """All findings on one scorer."""

    scorer: str
    rows: int
    answers: int
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict == "fault")


@dataclass(frozen=True)
class _Heard:
    """The outcome of one answer."""

    answer: Answer
    score: float | None
    failed: str
    ended: str
    """How the worker ended, if it did: "timeout", "memory", "crash"."""

    seconds: float
    seen: tuple[tuple[str, str], ...]


def audit(spec: str, data: Path | None = None, seconds: float = SECONDS) -> Report:
    """Test a scorer: a reward's name, a user's "file.py:function", or "verl:name" for one of verl's.

    Args:
        data: a parquet file in our schema whose first rows are used; default: a few rows written for the audit.
        seconds: an answer without a verdict after this time counts as a hang.

    Raises:
        ValueError: for a scorer that cannot be loaded, or without rows to test it on.
    """
    began = time.monotonic()
    rows = rows_for(spec, data)
    if is_custom(spec):
        spec = f"{Path(spec.rpartition(':')[0]).resolve()}:{spec.rpartition(':')[2]}"
    before = os.environ.get(SCORER)
    row = rows[0]
    first = [row.response(), row.truth, row.question, row.source, row.answer_format]
    os.environ[SCORER] = json.dumps({"spec": spec, "first": first})
    try:
        with (
            _folder() as folder,
            Pool(workers=2, seconds=seconds, memory_mb=_MEMORY_MB, cache=0) as pool,
        ):
            ask = _asker(pool, rows)
            gold = ask([Answer(n, "its own solution", row.response()) for n, row in enumerate(rows)])
            if all(heard.ended == "unloaded" for heard in gold):
                raise ValueError(f"{spec} cannot be loaded: {gold[0].failed}")
            tried = {
                "executes": ask(executables(rows, folder)),
                "endless": ask(endless(rows)),
                "empty": ask(empty(rows)),
                "sham": ask(shams(rows)),
                "hint": ask([Answer(n, "its hint", row.hint) for n, row in enumerate(rows) if row.hint]),
                "blanks": ask(other_blanks(rows)),
            }
            late = sorted(str(path) for path in Path(folder).iterdir())
    finally:
        if before is None:
            del os.environ[SCORER]
        else:
            os.environ[SCORER] = before
    graded = is_custom(spec) and is_graded(spec)
    findings = _findings(rows, gold, tried, late, graded)
    answers = len(gold) + sum(map(len, tried.values()))
    return Report(spec, len(rows), answers, time.monotonic() - began, findings)


@contextmanager
def _folder() -> Iterator[str]:
    """An empty folder without an underscore in its name: some scorers read one as a base or an index."""
    folder = Path(tempfile.gettempdir()) / f"{CANARY}{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _asker(pool: Pool, rows: Sequence[AuditRow]) -> Callable[[list[Answer]], list[_Heard]]:
    def one(answer: Answer) -> _Heard:
        row = rows[answer.row]
        outcome = pool.call(
            _PROBE, answer.response, row.truth, row.question, row.source, row.answer_format, answer.canary
        )
        if outcome.status == "ok":
            value = outcome.value
            seen = tuple((kind, what) for kind, what in value["seen"])
            return _Heard(answer, value["score"], value["failed"], "", value["seconds"], seen)
        crashed = "process ended" in outcome.message
        ended = outcome.status if outcome.status != "error" else "crash" if crashed else "unloaded"
        return _Heard(answer, None, outcome.message, ended, outcome.seconds, ())

    def all_of(answers: list[Answer]) -> list[_Heard]:
        with ThreadPoolExecutor(pool.workers) as threads:
            return list(threads.map(one, answers))

    return all_of


def _findings(
    rows: Sequence[AuditRow],
    gold: list[_Heard],
    tried: dict[str, list[_Heard]],
    late: list[str],
    graded: bool,
) -> tuple[Finding, ...]:
    everything = [*gold, *(heard for part in tried.values() for heard in part)]
    best = max((heard.score for heard in gold if heard.score is not None), default=1.0)
    low = min((heard.score for heard in everything if heard.score is not None), default=0.0)
    half = (best + low) / 2

    def paid(part: str) -> Finding:
        scored = [(heard.score, heard) for heard in tried[part] if heard.score is not None and heard.score > low]
        if not scored:
            return Finding(_PAYS[part], "ok", "" if tried[part] else "no row has one")
        score, heard = max(scored, key=lambda found: found[0])
        verdict: Literal["note", "fault"] = "fault" if score >= half and best > low else "note"
        share = f"{len(scored)} of {len(tried[part])}; row {heard.answer.row}: {_short(heard.answer.what)}"
        return Finding(_PAYS[part], verdict, f"{score:g} (its own solution: {best:g}) for {share}")

    return (
        _executed(tried["executes"], late),
        _ended(everything),
        paid("empty"),
        paid("sham"),
        _refused(gold, tried["sham"], graded),
        paid("hint"),
        _changed(gold, tried["blanks"], half),
        _touched(everything),
    )


_PAYS = {"empty": "pays an empty answer", "sham": "pays another row's solution", "hint": "pays the hint alone"}


def _executed(heard: list[_Heard], late: list[str]) -> Finding:
    fired = [(each, what) for each in heard for kind, what in each.seen if kind == "executed"]
    if fired:
        each, what = fired[0]
        return Finding(
            "executes the answer", "fault", f"{len(fired)} times; {_short(each.answer.what)} -> {what[:_SHOWN]}"
        )
    if late:
        return Finding("executes the answer", "fault", f"files appeared later: {', '.join(late[:3])}")
    return Finding("executes the answer", "ok", f"{len(heard)} payloads did nothing")


def _ended(heard: list[_Heard]) -> Finding:
    ended = [each for each in heard if each.ended in ("timeout", "memory", "crash")]
    if ended:
        told = ", ".join(dict.fromkeys(f"{_short(each.answer.what)} ({each.ended})" for each in ended))
        return Finding("hangs or dies", "fault", f"{len(ended)} answers: {told[:200]}")
    slowest = max(heard, key=lambda each: each.seconds)
    detail = f"slowest {slowest.seconds:.2f} s: {_short(slowest.answer.what)}"
    return Finding("hangs or dies", "note" if slowest.seconds > 2.0 else "ok", detail)


def _refused(gold: list[_Heard], sham: list[_Heard], graded: bool) -> Finding:
    question = "refuses the gold"
    if graded:
        shams = [each.score for each in sham if each.score is not None]
        golds = [each.score for each in gold if each.score is not None]
        better = bool(golds) and (not shams or sum(golds) / len(golds) > sum(shams) / len(shams))
        detail = f"graded; means: own solutions {_mean(golds)}, others' {_mean(shams)}"
        return Finding(question, "ok" if better else "fault", detail)
    refused = [each for each in gold if each.score != 1.0]
    if not refused:
        return Finding(question, "ok", f"{len(gold)} of {len(gold)} solutions get 1")
    first = refused[0]
    why = f" ({first.failed[:_SHOWN]})" if first.failed else ""
    where = f"row {first.answer.row} gets {first.score}{why}: {_short(first.answer.response[-40:])}"
    return Finding(question, "fault", f"{len(refused)} of {len(gold)}; {where}")


def _changed(gold: list[_Heard], respaced: list[_Heard], half: float) -> Finding:
    own = {each.answer.row: each.score for each in gold}
    other = [each for each in respaced if each.score != own[each.answer.row]]
    if not other:
        return Finding("changes with blanks", "ok", "")
    lost = [
        each for each in other if (each.score is None or each.score < half) and (own[each.answer.row] or 0.0) >= half
    ]
    first = (lost or other)[0]
    where = f"row {first.answer.row}: {own[first.answer.row]} -> {first.score} with {_short(first.answer.what)}"
    return Finding("changes with blanks", "fault" if lost else "note", f"{len(other)} of {len(respaced)}; {where}")


def _touched(heard: list[_Heard]) -> Finding:
    touched: dict[str, list[str]] = {}
    for each in heard:
        for kind, what in each.seen:
            if kind != "executed" and what not in touched.setdefault(kind, []):
                touched[kind].append(what)
    if not touched:
        return Finding("opens files, sockets, processes", "ok", "none")
    detail = "; ".join(f"{kind}: {_short(whats[0])} ({len(whats)})" for kind, whats in sorted(touched.items()))
    return Finding("opens files, sockets, processes", "note", detail)


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.2f}" if values else "-"


def _short(text: str) -> str:
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return text.encode("unicode_escape").decode()


def describe(report: Report) -> str:
    """The table."""
    lines = [f"{report.scorer}: {report.rows} rows, {report.answers} answers, {report.seconds:.0f} s"]
    lines += [f"  {f.question:<32} {f.verdict:<6} {f.detail}".rstrip() for f in report.findings]
    return "\n".join(lines)
