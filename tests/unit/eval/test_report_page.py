"""The page of a report: self-contained, and safe against what models write."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eval.report import main, report
from eval.reporting.cells import Table, html, markdown, text
from eval.reporting.read_runs import load
from eval.reporting.samples import first_middle_last, samples_of
from eval.reporting.simulated import ACCURACY, OVER_BOTH, OVER_SEEDS, shown
from recipes.common.run_dir import append_metrics, write_text
from tests.helpers.run_folders import answers, lines, rollout, settings_of, write_run

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Checker(HTMLParser):
    """Collects elements that are closed wrongly and everything that would be fetched."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [f"{tag} {name}={value}" for name, value in attrs if self._fetches(tag, name, value or "")]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    @staticmethod
    def _fetches(tag: str, name: str, value: str) -> bool:
        if name in ("src", "srcset", "data") or tag in ("script", "link", "iframe"):
            return not value.startswith("data:")
        return (name in ("href", "xlink:href") and not value.startswith("#")) or "url(http" in value


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    return checker


def many_runs(root: Path) -> Path:
    for seed in (0, 1):
        write_run(root / f"uft-{seed}", settings_of("uft", seed=seed), [2, 8 + seed, 12], hints=True)
    write_run(root / "rft", settings_of("rft"), [2, 4], finished=False)
    sft = write_run(root / "sft", settings_of("sft"), [2, 9])
    append_metrics(sft / "metrics.jsonl", 3, {"train/loss": 0.2})
    return root


def test_report_writes_everything_and_nothing_is_fetched(tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / "pairs.md").write_text("of an earlier report")
    said = report([many_runs(tmp_path / "runs")], out, "Three <tasks> & more")
    assert said.endswith("with their last answers to the same problems in validation/."), "one run is unfinished"
    assert "| compared |" not in said
    assert sorted(file.name for file in out.iterdir()) == [
        *("cost.md", "cost_countdown.png", "curves.png", "hints_countdown.png", "index.html"),
        *("table.csv", "table.md", "timing.md", "training_countdown.png"),
    ]
    for picture in out.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 10_000
    page = (out / "index.html").read_text(encoding="utf-8")
    found = checked(page)
    assert (found.wrong, found.open, found.fetched) == ([], [], [])
    assert "<title>Three &lt;tasks&gt; &amp; more</title>" in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") == 2 * 4, "each picture in two layouts"
    pictures = ("Accuracy", "Accuracy by what it cost", "Hints", "Training")
    for heading in (*pictures, "Results", "What it cost", "Where the time goes", "What the models wrote"):
        assert f"<h2>{heading}</h2>" in page
    assert "unfinished at step 5 of 500" in page


def test_the_page_says_what_an_interval_over_few_seeds_is_worth(tmp_path: Path) -> None:
    for seed in range(3):
        for algo, right in (("rft", 4 + seed), ("uft", 9)):
            write_run(tmp_path / "runs" / f"{algo}{seed}", settings_of(algo, seed=seed), [2, right])
    report([tmp_path / "runs"], tmp_path / "report", "t")
    for name in ("index.html", "pairs.md"):
        content = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert f"{OVER_BOTH[3][0]} to {OVER_BOTH[3][1]} % (3 seeds) of comparisons; 5 % is nominal" in content
        assert f"over seeds alone does so in {shown(OVER_SEEDS, {3})}" in content
        assert "(5 seeds)" not in content
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert f"misses the true accuracy in {ACCURACY[3][0]} to {ACCURACY[3][1]} % (3 seeds); 5 % is nominal" in page
    assert "no step is picked by accuracy" in page
    assert "whose right end is the table&#x27;s last" in page or "whose right end is the table's last" in page


def test_other_numbers_of_seeds_are_told_of_those_that_were_simulated() -> None:
    assert shown({3: (1.0, 2.5), 5: (0.5, 3.0)}, {5}) == "0.5 to 3 % (5 seeds)"
    assert shown({3: (1.0, 2.5), 5: (0.5, 3.0)}, {2, 4}) == "1 to 2.5 % (3 seeds), 0.5 to 3 % (5 seeds)"


def test_the_checker_sees_what_a_page_would_fetch() -> None:
    found = checked('<p><img src="http://a/b.png"><script></script><a href="x.html">x</a></b>')
    assert len(found.fetched) == 2
    assert found.wrong == ["b"]


def test_what_a_model_writes_stays_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("uft"), [2, 4])
    evil = "</pre><script>alert(1)</script>\x00\x1b[31m \ud800 &amp; <img src=x onerror=y>"
    bad = rollout(5, 0, hint="<b>hint</b>", output=evil, prompt=evil, pred='"><i>')
    write_text(run / "rollouts" / "5.jsonl", lines([bad]))
    write_text(run / "validation" / "5.jsonl", lines([row | {"output": evil, "input": evil} for row in answers(1, 2)]))
    report([run], tmp_path / "report", "<script>$</script>")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    found = checked(page)
    assert (found.wrong, found.open, found.fetched) == ([], [], [])
    assert not re.search(r"<(script|img|i)\b", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\N{REPLACEMENT CHARACTER}" in page
    assert '<span class="hint">&lt;b&gt;hint&lt;/b&gt;</span>' in page
    assert "&amp;amp;" in page


def test_samples_are_from_the_first_middle_and_last_step(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("uft"), [2, 4, 6])
    page = samples_of(load(run), "a run")
    assert re.findall(r"training, step (\d+)", page) == ["1", "6", "10"]
    assert (page.count("highest reward"), page.count("lowest reward")) == (3, 3)
    assert "validation, step 10: 6 of 20 answers are right" in page
    assert "validation, step 10: 14 of 20 answers are not right" in page
    assert first_middle_last([3]) == [3]
    assert first_middle_last([]) == []


def test_a_sample_names_the_hint_that_was_given(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("uft"), [2])
    write_text(run / "rollouts" / "1.jsonl", lines([rollout(1, 0, length=3, given=1 / 3)]))
    assert "hint 33% of the solution, 6 tokens" in samples_of(load(run), "a run")
    write_text(run / "rollouts" / "1.jsonl", lines([rollout(1, 0)]))
    assert "hint 1 of 3 segments, 6 tokens" in samples_of(load(run), "a run")


def test_long_texts_are_cut_with_a_word(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("rft"), [2])
    write_text(run / "rollouts" / "1.jsonl", lines([rollout(1, 0, output="x" * 10_000)]))
    page = samples_of(load(run), "a run")
    assert "x" * 4000 + " <em>(6000 more characters)</em>" in page
    assert "x" * 4001 not in page


def test_a_run_without_texts_has_no_samples(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("rft"), [2])
    (run / "validation" / "0.jsonl").unlink()
    assert samples_of(load(run), "a run") == ""


def test_no_panel_stands_in_two_pictures_of_a_report(tmp_path: Path) -> None:
    """How much was given: beside the accuracies of a single task, else in its picture of hints."""
    for task in ("countdown", "kk_logic"):
        folder = write_run(tmp_path / task, settings_of("uft", data=task), [2, 4], hints=True)
        assert folder.exists()
        report([tmp_path], tmp_path / "report")
        page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
        places = re.findall(r'<div class="wide broad">(.*?)</div>', page, re.DOTALL)
        assert sum(text.count("part of the solution given") for text in places) == (1 if task == "countdown" else 2)


def test_cells_are_safe_in_both_tables() -> None:
    table = Table(("a", "b"), (("x|y", "1\n2"), ("<i>", "&")))
    assert markdown(table).splitlines() == ["| a | b |", "|---|---|", "| x\\|y | 1 2 |", "| <i> | & |"]
    assert '<th scope="row">&lt;i&gt;</th><td>&amp;</td>' in html(table)
    assert text("a\tb\nc\x07") == "a\tb\nc\N{REPLACEMENT CHARACTER}"


def test_command_names_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, empty, out = write_run(tmp_path / "run", settings_of("rft"), [2, 4]), tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    monkeypatch.setattr("sys.argv", ["report", str(run), str(empty), "--out", str(out)])
    main()
    said = capsys.readouterr()
    assert f"skipped: {empty} has no run" in said.err
    assert "| rft | 1 |" in said.out
    assert "has no run (no experiment.yaml)" in (out / "index.html").read_text()
    monkeypatch.setattr("sys.argv", ["report", str(empty), "--out", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="no run to report on"):
        main()
    assert not (tmp_path / "none").exists()
