"""Which runs a report finds, what it reads of them, and which it averages."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.reporting.curves import styled
from eval.reporting.groups import panels
from eval.reporting.read_runs import NotARun, find_runs, load, read_lines, verdicts
from eval.reporting.settings import common, differences
from eval.reporting.style import colour
from eval.reporting.training import own_quantities
from recipes import ROOT
from recipes.common.run_dir import append_metrics, write_text
from tests.helpers.run_folders import answers, lines, settings_of, tables, write_run


def test_the_same_question_twice_is_two_problems(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("rft"), [1, 1], of=2)
    write_text(run / "validation" / "5.jsonl", lines([row | {"input": "same"} for row in answers(1, 2)]))
    assert verdicts(load(run)) == {("same", 0): 1.0, ("same", 1): 0.0}


def test_a_problem_is_the_same_with_the_special_tokens_of_its_prompt_and_without(tmp_path: Path) -> None:
    """Earlier runs kept none of them, and are still compared with later ones problem by problem."""
    run = write_run(tmp_path / "run", settings_of("rft"), [1, 1], of=2)
    for text in ("user\nsame", "<|im_start|>user\nsame<|im_end|>"):
        write_text(run / "validation" / "5.jsonl", lines([row | {"input": text} for row in answers(1, 2)]))
        assert verdicts(load(run)) == {("user\nsame", 0): 1.0, ("user\nsame", 1): 0.0}


def test_several_answers_to_a_problem_are_one_observation_of_it(tmp_path: Path) -> None:
    """Else four answers each would count as four times the problems, and the interval be half as wide as it is."""
    run = write_run(tmp_path / "run", {**settings_of("rft"), "val_samples": 2}, [3, 3], of=6)
    inputs = ["same", "same", "other", "other", "same", "same"]
    rows = [row | {"input": text} for row, text in zip(answers(3, 6), inputs, strict=True)]
    write_text(run / "validation" / "5.jsonl", lines(rows))
    assert verdicts(load(run)) == {("same", 0): 1.0, ("other", 0): 0.5, ("same", 1): 0.0}


def test_runs_that_differ_in_more_than_the_seed_are_never_averaged(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("uft", T_hint=200), [2, 4])
    write_run(tmp_path / "b", settings_of("uft", T_hint=300), [2, 8])
    write_run(tmp_path / "c", settings_of("uft", T_hint=300, seed=1, log_rollouts=3), [2, 10])
    groups = panels(find_runs([tmp_path])[0])[0].groups
    assert [(group.label, group.seeds) for group in groups] == [("uft, T_hint 200", 1), ("uft, T_hint 300", 2)]


def test_seeds_of_an_embedded_model_are_averaged_however_its_path_was_written(tmp_path: Path) -> None:
    """A sweep records whole paths, the default none; folders of runs are copied between machines."""
    elsewhere = "/home/ada/unified-ft/models/tiny-chain-q40"
    for seed, model in enumerate(("models/tiny-chain-q40", f"{ROOT}/models/tiny-chain-q40", elsewhere)):
        write_run(tmp_path / f"{seed}", settings_of("rft", seed=seed) | {"model": model}, [2, 4])
    (panel,) = panels(find_runs([tmp_path])[0])
    assert [(group.label, group.seeds) for group in panel.groups] == [("rft", 3)]


@pytest.mark.parametrize("given", ["", None, 3, "a" * 300, "Qwen/Qwen2.5-0.5B", "mine", "hf/../hf/last"])
def test_any_other_model_stays_as_it_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: object
) -> None:
    """A folder of the same name where the report is made may be another model."""
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", settings_of("rft") | {"model": given}, [2, 4])
    assert load(tmp_path / "run").settings["model"] == given


def test_a_panel_is_a_task_with_a_model(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("rft"), [2, 4])
    write_run(tmp_path / "b", settings_of("rft", model="Qwen/Qwen2.5-3B"), [2, 4])
    write_run(tmp_path / "c", settings_of("rft", data="kk_logic"), [2, 4])
    titles = [panel.title for panel in panels(find_runs([tmp_path])[0])]
    assert titles == ["countdown, Qwen2.5-0.5B", "countdown, Qwen2.5-3B", "kk_logic, Qwen2.5-0.5B"]
    assert tables(tmp_path)[2].startswith("| countdown, Qwen2.5-0.5B | rft |")


def test_the_same_task_with_other_data_is_another_panel(tmp_path: Path) -> None:
    easy = settings_of("rft") | {"data_options": {"n_train": 64, "sizes": [3]}}
    write_run(tmp_path / "a", settings_of("rft"), [2, 4])
    write_run(tmp_path / "b", easy, [2, 4])
    titles = [panel.title for panel in panels(find_runs([tmp_path])[0])]
    assert len(titles) == 2
    assert (
        "countdown, Qwen2.5-0.5B, n_train: 64, sizes: [3]" in titles or "countdown, n_train: 64, sizes: [3]" in titles
    )


def test_algorithms_keep_their_order_and_unknown_ones_follow(tmp_path: Path) -> None:
    for algo in ("zeta", "uft", "sft", "alpha", "rft"):
        write_run(tmp_path / algo, settings_of("rft") | {"algo": algo}, [2, 4])
    groups = panels(find_runs([tmp_path])[0])[0].groups
    assert [group.algo for group in groups] == ["sft", "rft", "uft", "alpha", "zeta"]


def test_settings_say_what_differs_and_what_does_not(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("rft", lr=1e-6), [2, 4])
    write_run(tmp_path / "b", settings_of("rft", lr=1e-6, seed=1), [2, 4])
    write_run(tmp_path / "c", settings_of("uft", lr=2e-6), [2, 4])
    places = panels(find_runs([tmp_path])[0])
    different = differences(places)
    assert different.head == ("setting", "rft", "uft")
    assert ("lr", "1e-06", "2e-06") in different.rows
    assert ("seed", "0, 1", "0") in different.rows
    shared = dict(common(places).rows)
    assert (shared["T"], shared["model"]) == ("500", "Qwen/Qwen2.5-0.5B")
    assert not set(shared) & {row[0] for row in different.rows}


def test_runs_are_found_in_folders_of_runs_and_others_are_named(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    write_run(sweep / "lr_1" / "seed_0", settings_of("rft"), [2, 4])
    write_run(sweep / "lr_1" / "seed_1", settings_of("rft", seed=1), [2, 4])
    # A run's own folders are not runs of their own.
    write_run(sweep / "lr_1" / "seed_0" / "sft", settings_of("sft"), [2, 4])
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    write_text(broken / "experiment.yaml", "algo: [")
    evaluation = tmp_path / "evaluation"
    write_text(evaluation / "experiment.yaml", "algo: rft")
    (evaluation / "eval" / "given").mkdir(parents=True)
    given = [sweep, sweep / "lr_1", tmp_path / "empty", tmp_path / "gone", broken, evaluation]
    runs, skipped = find_runs(given)
    assert [run.name for run in runs] == ["seed_0", "seed_1"]
    assert {folder.name: why for folder, why in skipped} == {
        "empty": "has no run (no experiment.yaml)",
        "gone": "is not a folder",
        "broken": "its experiment.yaml cannot be read (ParserError)",
        "evaluation": "is an evaluation, not a training run",
    }


@pytest.mark.parametrize("content", ["", "- a list", "seed: 0"])
def test_settings_without_an_algorithm_are_no_run(tmp_path: Path, content: str) -> None:
    write_text(tmp_path / "experiment.yaml", content)
    with pytest.raises(NotARun, match="names no algo"):
        load(tmp_path)


def test_torn_and_odd_lines_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "1.jsonl"
    file.write_text('{"output": "a\u2028b"}\n[1]\n\n{"output": "tor', encoding="utf-8")
    assert read_lines(file) == [{"output": "a\u2028b"}]
    assert read_lines(tmp_path / "none.jsonl") == []


def test_metrics_of_an_algorithms_own_have_panels(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "relift", settings_of("relift"), [2, 4])
    for step in range(1, 6):
        own = {"uft/unsolved": 3.0, "due/nll": 1.0, "actor/demonstration": 0.1, "uft/hint_reliance": 0.2}
        append_metrics(folder / "metrics.jsonl", step, {**own, "actor/perf/mfu": 1.0, "uft/rollout_digest": 1.0})
    (panel,) = panels(find_runs([tmp_path])[0])
    keys = [each.key for each in own_quantities(panel.groups)]
    assert keys == ["uft/hint_reliance", "actor/demonstration", "due/nll", "uft/unsolved"]


def test_lines_of_one_colour_differ_by_their_dashes(tmp_path: Path) -> None:
    names = ["luffy", "dft", "relift", "opsd", "sdpo"]
    for name in names:
        write_run(tmp_path / name, settings_of(name), [2, 4])
    (panel,) = panels(find_runs([tmp_path])[0])
    drawn = {(colour(group.algo), str(line)) for group, line in styled(panel.groups)}
    assert len(drawn) == len(names)
