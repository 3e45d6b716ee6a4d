"""The audit of a scorer finds what was planted, and nothing in a scorer without faults."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from data_prep.countdown import generate as countdown
from reward_fns.__main__ import main
from reward_fns.audit import Report, answers, audit, describe
from reward_fns.audit.payloads import ENDLESS
from reward_fns.audit.rows import rows_for
from reward_fns.registry import REWARDS

READS = """import os, re, socket, subprocess, sys
def last(response):
    found = re.findall('<answer>([^<]*)</answer>', response)
    return found[-1].strip() if found else ''
def reward(response, answer):
    said = last(response)
"""
RIGHT = "    return float(said == answer)\n"
GOOD = READS + RIGHT


def doing(*lines: str) -> str:
    """A good reward that does something else first."""
    return READS + "".join(f"    {line}\n" for line in lines) + RIGHT


PLANTED = {
    "executes the answer": [
        doing("try:", "    said = str(eval(said))", "except Exception:", "    pass"),
        doing("subprocess.run(['sh', '-c', said], capture_output=True)"),
        doing("import yaml", "try:", "    yaml.unsafe_load(said)", "except Exception:", "    pass"),
        # In a process of its own, which the worker's hook does not see into.
        doing("subprocess.run([sys.executable, '-S', '-c', said], capture_output=True)"),
    ],
    "hangs or dies": [
        doing("while '9**9' in response:", "    pass"),
        doing("if '9**9' in response:", "    os._exit(3)"),
        doing("if '9**9' in response:", "    bytearray(1 << 40)"),
        doing(r"re.fullmatch(r'(\w+\s?)*', said)"),
    ],
    "pays an empty answer": [doing("if not response.strip():", "    return 1")],
    "pays another row's solution": [READS + "    return float(said.lstrip('-').isdigit())\n"],
    "refuses the gold": [GOOD.replace("== answer", "== answer + '.0'")],
    "pays the hint alone": [READS + "    return float(answer in response)\n"],
    "changes with blanks": [READS + "    return float(response.endswith(f'<answer> {answer} </answer>'))\n"],
}
MAY_COME_ALONG = {"executes the answer": {"hangs or dies"}}
"""Who evaluates a tower of powers may be at it forever."""


@pytest.fixture(autouse=True)
def _few_endless_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("a tower of powers", "blanks", "many tags", "words that end otherwise")
    monkeypatch.setattr(answers, "ENDLESS", {name: ENDLESS[name] for name in chosen})


def planted(folder: Path, text: str) -> str:
    path = folder / f"reward_{len(list(folder.glob('*.py')))}.py"
    path.write_text(text)
    return f"{path}:reward"


def faults(report: Report) -> list[str]:
    return [finding.question for finding in report.faults]


CASES = [(question, at) for question, texts in PLANTED.items() for at in range(len(texts))]


@pytest.mark.parametrize(("question", "at"), CASES)
def test_a_planted_fault_is_found(question: str, at: int, tmp_path: Path) -> None:
    report = audit(planted(tmp_path, PLANTED[question][at]), seconds=3)
    assert question in faults(report), describe(report)
    unexpected = set(faults(report)) - {question} - MAY_COME_ALONG.get(question, set())
    assert not unexpected, describe(report)


def test_a_reward_without_faults_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", planted(tmp_path, GOOD)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line[2:34].strip() for line in lines] == [*PLANTED, "opens files, sockets, processes"]
    assert [line[34:].split()[0] for line in lines] == ["ok"] * 8


def test_a_fault_makes_the_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = planted(tmp_path, PLANTED["refuses the gold"][0])
    assert main(["audit", planted(tmp_path, GOOD), bad]) == 1
    assert "refuses the gold                 fault  3 of 3; row 0 gets 0.0" in capsys.readouterr().out


def test_what_a_reward_opens_is_told(tmp_path: Path) -> None:
    """A judge is asked over the network, which is no fault."""
    log = str(tmp_path / "log")
    asks = ("try:", "    socket.create_connection(('127.0.0.1', 9), .1)", "except OSError:", "    pass")
    asking = doing(f"open({log!r}, 'a').close()", *asks)
    report = audit(planted(tmp_path, asking))
    assert not report.faults, describe(report)
    told = report.findings[-1]
    assert told.verdict == "note"
    assert "file: " in told.detail
    assert "socket: " in told.detail


def test_a_graded_reward_has_to_like_the_gold_better(tmp_path: Path) -> None:
    better = "GRADED = True\n" + GOOD.replace("return float(said", "return .2 + .5 * (said")
    assert faults(audit(planted(tmp_path, better))) == []
    same = "GRADED = True\ndef reward(response, answer):\n    return .5\n"
    assert faults(audit(planted(tmp_path, same))) == ["refuses the gold"]


@pytest.mark.parametrize("name", REWARDS)
def test_ours_have_no_faults(name: str) -> None:
    report = audit(name)
    assert not report.faults, describe(report)


def test_rows_of_a_users_file(tmp_path: Path) -> None:
    countdown.prepare(tmp_path / "data", n_train=8, n_test=4, seed=0)
    rows = rows_for("countdown", tmp_path / "data/train.parquet")
    assert len(rows) == 8
    assert all(row.response().startswith(row.hint) and row.response().endswith("</answer>") for row in rows)
    assert not audit("countdown", tmp_path / "data/train.parquet").faults


@pytest.mark.parametrize(
    ("scorers", "said"),
    [
        (["nothing_known"], "no rows to test nothing_known on"),
        (["verl:sandbox_fusion"], "it needs a sandbox server"),
        (["verl:nothing"], "Known: chain, countdown"),
        (["mth"], "no rows to test mth on; did you mean math[?]"),
        (["math", "--data", "examples/custom/questions.jsonl"], "data_prep validate .* --out FOLDER` makes one"),
        (["math", "--data", "missing.parquet"], "missing.parquet: no such file"),
        (["not_there.py:reward"], "cannot be loaded: .*there is no file"),
    ],
)
def test_what_cannot_be_audited_is_said_in_a_line(
    scorers: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["audit", *scorers])
    assert left.value.code == 2
    assert re.search(said, capsys.readouterr().err)
