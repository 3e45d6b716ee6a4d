"""Solution texts are cut into segments without losing a sign or breaking a formula."""

from __future__ import annotations

import re
import time

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.segments import segments
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data" / "math" / "test.parquet"

SIGNS = (
    "$",
    "$$",
    r"\[",
    r"\]",
    r"\(",
    r"\)",
    r"\$",
    "\\\\",
    r"\begin{align*}",
    r"\end{align*}",
    "[asy]",
    "[/asy]",
    "\n",
)
WORDS = (
    ". ",
    "! ",
    "? ",
    ".",
    " ",
    "  ",
    "\t",
    "e.g. ",
    "3.5",
    "5! ",
    "A. ",
    "Let ",
    "x",
    "{",
    "}",
    "é",
    ".) ",
    "\r\n",
)
pieces = st.sampled_from((*SIGNS, *WORDS))
formulas = st.sampled_from(["$x. y$", "$$a.\nb. c$$", r"\[1. \$ 2\]", "\\begin{a}b. \n$c$\\end{a}", r"\(\text{A. B}\)"])


@given(st.lists(st.one_of(pieces, formulas, st.text(max_size=5)), max_size=40).map("".join))
def test_nothing_is_lost_and_no_segment_is_empty(text: str) -> None:
    cut = segments(text)
    assert "".join(cut) == text
    assert all(cut)


@given(st.lists(st.tuples(st.sampled_from(["We see. ", "So\n", "and "]), formulas), max_size=12))
def test_no_formula_is_ever_broken(parts: list[tuple[str, str]]) -> None:
    text = "".join(words + formula + " " for words, formula in parts)
    ends = [0]
    for segment in segments(text):
        ends.append(ends[-1] + len(segment))
    at = 0
    for words, formula in parts:
        start = at + len(words)
        at = start + len(formula) + 1
        assert not any(start < end < at - 1 for end in ends), (formula, segments(text))
        if words != "and ":
            assert start in ends


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("One", ["One"]),
        ("One. Two! Three? Four.", ["One. ", "Two! ", "Three? ", "Four."]),
        ("One.  Two.", ["One. ", " Two."]),
        ("One.\n\nTwo.\n", ["One.\n", "\n", "Two.\n"]),
        ("So 3.5 and 1,000.25 are. Yes.", ["So 3.5 and 1,000.25 are. ", "Yes."]),
        (
            "See e.g. Fig. 2, i.e. the circle vs. the line. Done.",
            ["See e.g. Fig. 2, i.e. the circle vs. the line. ", "Done."],
        ),
        ("Dr. B. Smith is here. He left.", ["Dr. B. Smith is here. ", "He left."]),
        ("The factors of 5! are 2, 3, 5. Wow! Yes.", ["The factors of 5! are 2, 3, 5. ", "Wow! ", "Yes."]),
        ('He said "so." Then (maybe.) Then.', ['He said "so." ', "Then (maybe.) ", "Then."]),
        ("Let $x=1. y$ be. So $$a. \n b$$ and. End", ["Let $x=1. y$ be. ", "So $$a. \n b$$ and. ", "End"]),
        (
            "\\begin{align*}\na. \\\\\nb\n\\end{align*}\nSo. It",
            ["\\begin{align*}\na. \\\\\nb\n\\end{align*}\n", "So. ", "It"],
        ),
        ("It costs \\$5. And \\$6. Sum", ["It costs \\$5. ", "And \\$6. ", "Sum"]),
        ("It costs $5. And no more. Sum", ["It costs $5. ", "And no more. ", "Sum"]),
        ("[asy]\ndraw(a); // a. b\n[/asy]\nSee", ["[asy]\ndraw(a); // a. b\n[/asy]\n", "See"]),
    ],
)
def test_where_segments_end(text: str, expected: list[str]) -> None:
    assert segments(text) == expected


def test_long_and_hostile_texts_take_no_time() -> None:
    started = time.process_time()
    for text in ("$" * 50_001, "\\[" * 2_000, "a. " * 20_000, "\\begin{a}" * 1_000, "$x$ e.g. " * 5_000, "\n" * 50_000):
        assert "".join(segments(text)) == text
    assert time.process_time() - started < 5


def test_the_published_solutions_are_cut_in_the_same_spirit() -> None:
    if not REFERENCE.exists():
        pytest.skip(f"the published MATH data is not at {REFERENCE}")
    theirs = pq.read_table(REFERENCE, columns=["hint"])["hint"].to_pylist()
    ours = [segments("".join(hint)) for hint in theirs]
    assert ["".join(hint) for hint in ours] == ["".join(hint) for hint in theirs]
    assert sum(a == b for a, b in zip(ours, theirs, strict=True)) >= 640
    dollars = re.compile(r"(?<!\\)\$")
    broken = [hint for hint in ours if any(len(dollars.findall(segment)) % 2 for segment in hint)]
    assert len(broken) <= 1, broken
