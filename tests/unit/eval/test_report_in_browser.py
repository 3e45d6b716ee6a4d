"""The page as a browser lays it out, on a telephone and on a desk, light and dark; where Debian's chromium is."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from eval.report import report
from tests.helpers.run_folders import settings_of, write_run

CHROMIUM = shutil.which("chromium")

_MEASURE = """
<script>
const right = (element) => Math.round(element.getBoundingClientRect().right);
const cells = [...document.querySelectorAll("h2 + .wide table tbody tr td:nth-of-type(1)")];
parent.postMessage(JSON.stringify({
  width: innerWidth,
  scrolls: document.documentElement.scrollWidth,
  head: document.querySelector("h2 + .wide table thead th:nth-of-type(2)").textContent,
  results: cells.map(right),
  pictures: [...document.querySelectorAll("svg")].map((svg) => [svg.getBoundingClientRect().width, right(svg)])
    .filter(([width]) => width > 0),
  letters: [...document.querySelectorAll("svg")].filter((svg) => svg.getBoundingClientRect().width > 0)
    .map((svg) => 10 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width),
  paper: getComputedStyle(document.body).backgroundColor,
}), "*");
</script>
"""

# A window is at least 500 pixels wide, a frame is not.
_FRAME = """<!doctype html><pre id="measured"></pre>
<script>addEventListener("message", (found) => document.getElementById("measured").textContent = found.data)</script>
<iframe src="index.html" width="{width}" height="900" style="border: 0"></iframe>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two algorithms in three seeds, one of them with hints, that measures itself."""
    root = tmp_path_factory.mktemp("page")
    for seed in range(3):
        write_run(root / f"runs/uft-{seed}", settings_of("uft", seed=seed), [2, 8 + seed, 12 + seed], hints=True)
        write_run(root / f"runs/rft-{seed}", settings_of("rft", seed=seed), [2, 4, 5 + seed])
    report([root / "runs"], root / "report")
    file = root / "report/index.html"
    file.write_text(file.read_text(encoding="utf-8").replace("</body>", f"{_MEASURE}</body>"), encoding="utf-8")
    return file


def measured(page: Path, width: int, dark: bool) -> dict[str, Any]:
    """What the browser says of the page."""
    assert CHROMIUM
    frame = page.with_name(f"frame_{width}.html")
    frame.write_text(_FRAME.format(width=width), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={int(not dark)}"
    window = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,900", scheme)
    command = [
        CHROMIUM,
        *window,
        f"--user-data-dir={page.parent / 'profile'}",
        "--virtual-time-budget=9000",
        "--dump-dom",
    ]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-500:]
    return dict(json.loads(unescape(found[1])))


if CHROMIUM:

    @pytest.mark.parametrize("width", [390, 1280])
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_results_and_pictures_fit_the_screen(page: Path, width: int, dark: bool) -> None:
        found = measured(page, width, dark)
        assert found["width"] == width
        assert found["scrolls"] <= width, "the page itself does not scroll sideways"
        assert found["head"] == "last"
        assert found["results"]
        assert max(found["results"]) <= width
        assert len(found["pictures"]) == 4, "each once: the layout of this screen"
        assert all(right <= width for _, right in found["pictures"])
        assert min(found["letters"]) > 9, "pixels of a picture's letters"
        assert found["paper"] == ("rgb(18, 23, 28)" if dark else "rgb(255, 255, 255)")


def test_what_measures_the_page_finds_its_table(page: Path) -> None:
    """Without a browser: the selectors above name what the page has."""
    text = page.read_text(encoding="utf-8")
    assert re.search(r"<h2>Results</h2>\s*<div class=\"wide\"><table><thead><tr><th[^>]*>algorithm</th>", text)
    assert text.count('<div class="wide broad"><svg') == text.count('<div class="wide narrow"><svg') == 4
