"""docs/study.md as HTML."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from jinja2 import Template
from markdown_it import MarkdownIt

from recipes import ROOT

PAGE: Final = ROOT / "docs/study.md"
OUT: Final = ROOT / "results/study"

_HTML = Template(
    """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Where does each method win?</title><style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui;margin:2rem
auto;max-width:70rem;padding:0 1rem}table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}td,th{
padding:.15rem .6rem;text-align:left;border-bottom:1px solid #8885}img{max-width:100%;height:auto;background:#fff}pre{
overflow-x:auto}</style>
{{ page }}</html>
""",
    autoescape=False,
)


def as_html(page: str, folder: Path = OUT) -> str:
    """docs/study.md as HTML for a folder: headings get the anchors that its links name, links start from the folder."""
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(page)
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(tokens[place + 1].content))
        for child in token.children or ():
            for name in ("href", "src"):
                target = str(child.attrGet(name) or "#")
                if not target.startswith(("#", "http")):
                    child.attrSet(name, os.path.relpath(PAGE.parent / target, folder))
    return _HTML.render(page=parser.renderer.render(tokens, parser.options, {}))


def _anchor(heading: str) -> str:
    """What GitHub calls a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
