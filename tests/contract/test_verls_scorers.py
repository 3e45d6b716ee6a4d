"""verl's own scorers, seen by the audit: what is said of them in docs/rewards.md."""

import pytest

from reward_fns.audit import answers, audit, describe, rows

pytestmark = [pytest.mark.contract, pytest.mark.extended]


def test_prime_math_executes_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-6878. When a new verl fails it: docs/rewards.md says so too, and recipes/checks/verl_scorers.py."""
    monkeypatch.setattr(answers, "ENDLESS", {})
    matrix = [row for row in rows._VERLS["prime_math"] if "pmatrix" in row.answer]
    monkeypatch.setitem(rows._VERLS, "prime_math", matrix)
    report = audit("verl:prime_math", seconds=60)
    executed = report.findings[0]
    assert (executed.question, executed.verdict) == ("executes the answer", "fault"), describe(report)
    assert "open(" in executed.detail


def test_gsm8k_executes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ENDLESS", {})
    report = audit("verl:gsm8k", seconds=60)
    assert [finding.question for finding in report.faults] == ["changes with blanks"], describe(report)
