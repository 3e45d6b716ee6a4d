"""The pictures of a report, drawn for every state of a run."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from eval.reporting.curves import draw_accuracy, draw_curves, draw_seeds, how_drawn
from eval.reporting.groups import panels
from eval.reporting.read_runs import find_runs, load
from eval.reporting.style import ALGORITHMS, HINT_LENGTHS, close, colour, house_style, svg
from eval.reporting.training import draw_hints, draw_training
from recipes.algorithms.hints.schedule import MAX_SEGMENTS
from recipes.common.run_dir import append_metrics, write_text
from tests.helpers.run_folders import settings_of, write_run


def test_accuracy_panel_has_lines_across_and_published_marks(tmp_path: Path) -> None:
    write_run(tmp_path / "sft", settings_of("sft"), [2, 9])
    write_run(tmp_path / "uft", settings_of("uft"), [2, 9])
    write_run(tmp_path / "mine", settings_of("rft") | {"algo": "mine"}, [2, 9])
    figure, axes = plt.subplots()
    handles = draw_accuracy(axes, panels(find_runs([tmp_path])[0])[0])
    assert list(handles) == ["base model", "sft (end)", "uft", "mine", "published"]
    assert list(handles["base model"].get_ydata()) == pytest.approx([0.1, 0.1])
    assert list(handles["sft (end)"].get_ydata()) == pytest.approx([0.45, 0.45])
    assert list(handles["uft"].get_xdata()) == [0, 5]
    assert handles["uft"].get_color() == ALGORITHMS["uft"]
    marked = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert marked == [0.331, pytest.approx(0.5039)]
    close(figure)


def test_lines_at_the_same_height_and_along_the_bottom_are_all_seen(tmp_path: Path) -> None:
    for algo, right in (("sft", [2, 4]), ("dft", [2, 4]), ("rft", [0, 0])):
        write_run(tmp_path / algo, settings_of(algo), right)
    figure, axes = plt.subplots()
    draw_accuracy(axes, panels(find_runs([tmp_path])[0])[0])
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    for algo in ("sft", "dft", "rft"):
        wanted = np.array(to_rgb(colour(algo))) * 255
        assert (np.abs(pixels - wanted).max(-1) < 12).sum() > 100, algo
    assert axes.get_ylim()[0] < 0 < axes.get_ylim()[1]
    close(figure)


def test_the_mean_over_seeds_ends_where_the_slowest_seed_is() -> None:
    figure, axes = plt.subplots()
    curves = [([0, 5, 10], [0.0, 0.4, 0.8]), ([0, 5], [0.2, 0.6])]
    mean = draw_seeds(axes, curves, "#000000", "-")
    assert list(mean.get_xdata()) == [0, 5]
    assert list(mean.get_ydata()) == pytest.approx([0.1, 0.5])
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines[:2]] == [
        ([5, 10], [0.4, 0.8]),
        ([5], [0.6]),
    ]
    edge = axes.collections[0].get_paths()[0].vertices
    assert (edge[:, 0].max(), edge[:, 1].min(), edge[:, 1].max()) == (5, 0.0, 0.6)
    assert draw_seeds(axes, [([], [])], "#000000", "-") is None
    close(figure)


def test_seeds_that_share_no_step_still_show(tmp_path: Path) -> None:
    for seed, freq in enumerate((5, 3)):
        write_run(tmp_path / str(seed), settings_of("rft", seed=seed), [2, 4], test_freq=freq)
        (tmp_path / str(seed) / "metrics.jsonl").write_text("")
        append_metrics(tmp_path / str(seed) / "metrics.jsonl", freq, {"val/acc": 0.5})
    close(draw_curves(panels(find_runs([tmp_path])[0]), "t"))


def test_steps_are_ticked_where_they_are_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("uft", T=3), [2, 4], hints=True)
    append_metrics(run / "metrics.jsonl", 3, {"train/loss": 0.5, "actor/entropy": 0.5})
    panel = panels([load(run)])[0]
    for figure in (draw_curves([panel], "t"), draw_training(panel), draw_hints(panel)):
        assert figure is not None
        for axes in (each for each in figure.axes if each.get_visible()):
            axes.set_xlim(0, 3.03)
            assert [tick for tick in axes.get_xticks() if tick % 1] == []
        close(figure)


def test_pictures_of_what_was_not_recorded_are_not_drawn(tmp_path: Path) -> None:
    (panel,) = panels([load(write_run(tmp_path / "run", settings_of("rft"), [2]))])
    assert draw_training(panel) is None
    assert draw_hints(panel) is None
    close(draw_curves([panel], "t"))


def test_rewards_by_hint_length_are_means_over_seeds_and_a_tenth_of_the_run(tmp_path: Path) -> None:
    for seed, reward in ((0, 0.2), (1, 0.6)):
        folder = write_run(tmp_path / f"uft-{seed}", settings_of("uft", seed=seed), [2, 4, 6, 8, 9], hints=True)
        write_text(folder / "metrics.jsonl", "")
        for step in range(1, 21):
            found = {"uft/hint_tokens": 3.0, "uft/score/l=0": reward + 0.1 * (step % 2), "uft/hint_frac": 0.5}
            append_metrics(folder / "metrics.jsonl", step, found)
    (panel,) = panels(find_runs([tmp_path])[0])
    with house_style():
        alone, beside = draw_hints(panel, share=False), draw_hints(panel)
    (axes,) = [each for each in alone.axes if each.get_visible()]
    (line,) = axes.lines
    assert list(line.get_xdata()) == [1.5 + 2 * part for part in range(10)]
    assert list(line.get_ydata()) == pytest.approx([0.45] * 10)
    assert axes.get_title(loc="left") == "uft, 2 seeds: reward by hint length"
    # What algorithms and what lengths have the same colours stand in legends of their own.
    assert [each.get_text() for each in alone.legends[0].get_texts()] == ["no hint"]
    assert [each.get_text() for each in beside.axes[0].get_legend().get_texts()] == ["uft"]
    assert [each.get_text() for each in beside.legends[0].get_texts()] == ["no hint"]
    for figure in (alone, beside):
        close(figure)


def test_hint_likelihood_is_drawn_only_where_there_were_hints(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("uft"), [2, 4])
    for step, tokens in ((1, 9.0), (2, 4.0), (3, 0.0)):
        append_metrics(run / "metrics.jsonl", step, {"uft/hint_tokens": tokens, "actor/hint_nll": tokens / 10})
    with house_style():
        figure = draw_training(panels([load(run)])[0])
    assert figure is not None
    (axes,) = [each for each in figure.axes if each.get_title(loc="left") == "NLL of hint tokens, nats"]
    assert list(axes.lines[0].get_xdata()) == [1, 2]
    close(figure)


def test_pictures_for_the_page_share_no_identifiers_and_take_its_colour() -> None:
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1])
    picture = svg(figure, 'a "description" <b>')
    close(figure)
    assert picture.startswith('<svg role="img" aria-label="a \'description\' b>"')
    assert 'id="axes_1"' not in picture
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', picture))
    assert used <= set(re.findall(r' id="([^"]+)"', picture))


def test_colours_are_distinct_and_stable() -> None:
    assert len(set(ALGORITHMS.values())) == len(ALGORITHMS)
    assert colour("somebody's own") == colour("somebody's own")
    assert len(HINT_LENGTHS) == MAX_SEGMENTS + 1


def test_the_axis_says_how_answers_were_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "a/uft", settings_of("uft"), [2, 4])
    write_run(tmp_path / "b/uft", {**settings_of("uft"), "val_samples": 4}, [2, 4])
    said = [how_drawn(panels(find_runs([tmp_path / name])[0])[0].groups) for name in ("a", "b")]
    both = [group for name in ("a", "b") for group in panels(find_runs([tmp_path / name])[0])[0].groups]
    assert [*said, how_drawn(both)] == ["greedy", "sampled", "greedy or sampled"]
