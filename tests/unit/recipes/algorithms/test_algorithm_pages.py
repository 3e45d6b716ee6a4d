"""The pages of docs/algorithms: every algorithm has one, all are linked, and the picture says what the files do."""

import re
from collections import defaultdict
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.chain_pages import curves, picture, section, with_section
from recipes.algorithms import algorithms, get_algorithm
from recipes.algorithms.base import At, Demonstration, Hint, forget
from tests import ROOT
from tests.helpers.groups import group, settings

FOLDER = ROOT / "docs/algorithms"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md")}
PICTURE = FOLDER / "gradient.svg"
SVG = "{http://www.w3.org/2000/svg}"
LINK = re.compile(r"\]\(([\w.]+\.md)")


@pytest.mark.parametrize("algo", algorithms())
def test_every_algorithm_has_a_page_or_a_section_with_its_command(algo: str) -> None:
    command = re.compile(rf"^python3 run\.py --algo {algo}(?!\w)", re.MULTILINE)
    pages = PAGES.keys() - {"README.md", "gradient.md", "own.md"}
    assert any(command.search(PAGES[name]) for name in pages), f"no page of docs/algorithms has {algo}'s command"


def test_every_page_is_linked_from_the_first_one_and_no_link_is_broken() -> None:
    linked = {name: {*LINK.findall(text)} for name, text in PAGES.items()}
    assert linked["README.md"] >= PAGES.keys() - {"README.md"}
    assert {target for targets in linked.values() for target in targets} <= PAGES.keys()


def in_the_picture() -> dict[str, set[str]]:
    """Names of algorithms by the places of the picture where they stand."""
    found = {}
    for part in ElementTree.parse(PICTURE).iter(f"{SVG}g"):
        if name := part.get("id"):
            found[name.replace("-", " ")] = {
                word for text in part.iter(f"{SVG}text") for word in (text.text or "").split()
            }
    return found


def in_the_files() -> dict[str, set[str]]:
    """The same by what the files do."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in (name for name, each in algorithms().items() if "rl" in each.stages):
        algorithm = get_algorithm(name)
        s: Any = settings(algorithm, sft_loss_coef=algorithm.settings.get("sft_loss_coef", 0), unsolved_buffer=1)
        drawn = []
        for seed in range(20):
            plans = algorithm.rollout(At(1, 5, past=None if name != "pope" else 1), s, np.random.default_rng(seed))
            drawn += plans if isinstance(plans, list) else [plans]
        for plan in drawn:
            if isinstance(plan, Hint):
                found["hint in the question" if plan.where == "prompt" else "hint in the response"].add(name)
            elif isinstance(plan, Demonstration):
                found["demonstration"].add(name)
        hinted = name in found["hint in the response"]
        rewards = [1.0, 0.0, 0.0, 0.0], [0.0] * 4
        each = [
            group(scores, given=2 * hinted, demo=3 * algorithm.demonstrations, plans=[Hint(2)] * 4 if hinted else None)
            for scores in rewards
        ]
        if algorithm.context is not None:
            found["context"].add(name)
        if algorithm.loss is not None:
            found["loss"].add(name)
            continue
        weighed = [algorithm.weigh(one, s) for one in each]
        if any(one.advantage is not None for one in weighed):
            found["advantage"].add(name)
        if any(one.mask is not None for one in weighed):
            found["mask"].add(name)
        if any(term.coef and term.weights.any() for one in weighed for term in one.terms):
            found["terms"].add(name)
        if algorithm.remember is not forget:
            past, common, due = algorithm.remember(each[1], None, None, s)
            for place, kept in (("memory of a problem", past), ("memory of all", common), ("due", due)):
                if kept is not None and (place != "due" or kept):
                    found[place].add(name)
    return dict(found)


def test_the_picture_says_what_the_files_do() -> None:
    assert in_the_picture() == in_the_files()


def test_the_tests_that_the_table_of_hooks_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGES["gradient.md"])
    assert len(named) > 15
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_the_curves_of_the_pages_are_those_of_the_committed_runs() -> None:
    known = curves()
    for name, text in PAGES.items():
        if name not in ("README.md", "gradient.md", "own.md"):
            assert with_section(text, known) == text, f"{name}: run python -m bench.chain_pages"
    drawn = {file.stem: file.read_text(encoding="utf-8") for file in (FOLDER / "on_chain").glob("*.svg")}
    assert drawn == {name: picture(name, known) for name in known}


def test_a_curve_stands_where_its_accuracy_is() -> None:
    known = {"uft": [{0: 0.0, 10: 0.5, 20: 1.0}], "rft": [{0: 0.0, 10: 0.0, 20: 0.25}]}
    lines = [line.get("points") for line in ElementTree.fromstring(picture("uft", known)).iter(f"{SVG}polyline")]
    # Height 120 is 0, 10 is 1; the left edge 34, the right one 300.
    assert lines == ["34.0,120.0 167.0,120.0 300.0,92.5", "34.0,120.0 167.0,65.0 300.0,10.0"]
    assert "| uft | 0.0 | 50.0 | 100.0 |" in section(["uft"], known)
