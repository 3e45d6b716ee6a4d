"""README and docs: every page is found from the first one, and no link leads nowhere."""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests import ROOT

PAGES = sorted(
    page
    for place in (".", "docs", "results", "models", "examples")
    for page in (ROOT.glob("*.md") if place == "." else (ROOT / place).rglob("*.md"))
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def links(page: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of the links within the repository; code is none."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    inside = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    return [(_file(page, link.partition("#")[0]), link.partition("#")[2]) for link in inside]


def _file(page: Path, link: str) -> Path:
    return (page.parent / link).resolve() if link else page


@cache
def anchors(page: Path) -> set[str]:
    """What headings are called in links, as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    for file, anchor in links(page):
        assert file.exists(), f"{file.relative_to(ROOT)} is not there"
        assert not anchor or anchor in anchors(file), f"{file.relative_to(ROOT)} has no heading #{anchor}"


def test_every_page_of_docs_is_reached_from_the_readme_in_two_steps() -> None:
    first = {file for file, _ in links(ROOT / "README.md")}
    second = {file for page in first if page.suffix == ".md" for file, _ in links(page)}
    assert ROOT / "docs/README.md" in first
    missing = {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - first - second
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_a_paragraph_begins_like_a_list(page: Path) -> None:
    """A formula that is wrapped before its plus or minus becomes a point of a list."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for before, line in pairwise(text.splitlines()):
        in_list = not before.strip() or re.match(r"\s|[-*+] |<|\||#", before)
        assert in_list or not re.match(r"[-+] ", line), line
