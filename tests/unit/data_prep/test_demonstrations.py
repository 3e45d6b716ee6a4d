"""Fewer, worse and other problems' solutions: which rows, how many steps, what stays; and the files of a run."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.chain.problem import Space
from data_prep.countdown import generate as countdown
from data_prep.demonstrations import Demonstrations, place, rewritten, wrong_text
from data_prep.kk_logic import generate as kk_logic
from data_prep.prompt_styles import STYLES, restyle
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS, Row, read_rows, validate_row, write_rows
from recipes.algorithms import algorithms
from recipes.algorithms.base import At, Bare, Demonstration, Hint
from recipes.algorithms.hints.cut import as_record, draw_plans
from recipes.checks.experiment_check import refuse_training
from recipes.common.errors import ExperimentError
from recipes.data.data_check import check_training
from recipes.data.datafiles import DataFiles, locate
from recipes.data.demonstrations import SOLVED, demonstrated, taught
from recipes.flags.resolve import build_experiment
from recipes.run.plan import describe
from recipes.run.stages import sft_steps
from recipes.settings.experiment import Experiment
from recipes.settings.hook_settings import hook_settings
from recipes.settings.profiles import PROFILES
from reward_fns import compute_score
from tests import ROOT
from tests.helpers.chain_checks import rows_of, walk

CHAINS = rows_of(400, Space("sum", 4, 10))
COUNTDOWN = [countdown.to_row(p, n, "train") for n, p in enumerate(countdown.generate(60, 0, "train"))]
PUZZLES = [
    kk_logic.to_row(p, n, "train") for n, p in enumerate(kk_logic.generate(30, 0, "train", kk_logic.Space(people=(3,))))
]


def solved(rows: list[dict[str, Any]]) -> set[int]:
    return {row["extra_info"]["index"] for row in rows if row["answer"]}


def accuracy(row: dict[str, Any]) -> float:
    return float(compute_score(row["data_source"], row["answer"], row["reward_model"]["ground_truth"])["acc"])


def test_a_share_of_the_problems_keeps_its_solution_and_the_others_lose_all_of_it() -> None:
    rows, count = rewritten(CHAINS, Demonstrations(share=0.3), seed=0)
    # four standard errors of a share of 400
    assert abs(len(solved(rows)) / 400 - 0.3) < 0.092
    assert (count.problems, count.solved, count.wrong) == (400, len(solved(rows)), 0)
    for before, after in zip(CHAINS, rows, strict=True):
        assert after == (before if after["answer"] else {**before, "hint": [], "answer": ""})


def test_draws_are_of_the_question_alone_and_shares_are_nested() -> None:
    few, more = (solved(rewritten(CHAINS, Demonstrations(share=share), 0)[0]) for share in (0.1, 0.3))
    assert few < more
    assert solved(rewritten(CHAINS, Demonstrations(share=0.3), 1)[0]) != more
    reordered = rewritten(CHAINS[200:] + CHAINS[:200], Demonstrations(share=0.3), 0)[0]
    assert solved(reordered) == more
    chats = [restyle(row, STYLES["chat"], "row") for row in CHAINS]
    assert solved(rewritten(chats, Demonstrations(share=0.3), 0)[0]) == more
    assert rewritten(CHAINS, Demonstrations(0.5, 0.2), 3) == rewritten(CHAINS, Demonstrations(0.5, 0.2), 3)
    # Pinned: runs are compared across versions.
    assert place(0, "demonstration", "What is 1 + 1?") == pytest.approx(0.7907710306670707, abs=1e-12)


def test_wrong_steps_of_chains_are_as_many_as_asked_for_and_carried_on() -> None:
    rows, count = rewritten(CHAINS, Demonstrations(noise=0.1), seed=0)
    misses = 0
    for row in rows:
        truth = row["reward_model"]["ground_truth"]
        states = [int(line.split(": ")[1]) for line in row["hint"]]
        listed = [int(state) for state in re.findall(r"\) (\d+)", row["answer"])]
        assert listed == states
        steps = zip(pairwise([truth["start"], *states]), truth["inputs"], strict=True)
        misses += sum(after != walk("sum", 4, before, [move])[0] for (before, after), move in steps)
        validate_row(row, "row")
    assert misses == count.wrong
    # four standard errors of a share of 4,000 steps; and the share of perfect solutions is (1 - .1)^10 = .35
    assert abs(misses / 4_000 - 0.1) < 0.019
    assert abs(np.mean([accuracy(row) for row in rows]) - 0.9**10) < 0.096


def test_repeated_errors_are_a_part_of_the_rule_learned_wrongly() -> None:
    def mistaken(noise: float, seed: int) -> dict[tuple[int, int], int]:
        """The wrong state by (state, input), which every solution agrees on."""
        rows, count = rewritten(CHAINS, Demonstrations(noise=noise, errors="repeated"), seed)
        found: dict[tuple[int, int], set[int]] = {}
        wrong = 0
        for row in rows:
            validate_row(row, "row")
            truth = row["reward_model"]["ground_truth"]
            states = [truth["start"], *(int(line.split(": ")[1]) for line in row["hint"])]
            for (before, after), move in zip(pairwise(states), truth["inputs"], strict=True):
                found.setdefault((before, move), set()).add(after)
                wrong += after != walk("sum", 4, before, [move])[0]
        assert {len(after) for after in found.values()} == {1}
        assert len(found) == 16
        assert wrong == count.wrong
        return {pair: after for pair, (after,) in found.items() if after != walk("sum", 4, pair[0], [pair[1]])[0]}

    few, more = mistaken(0.1, 0), mistaken(0.3, 0)
    assert (len(few), len(more)) == (2, 5)
    assert few.items() <= more.items()
    assert len(mistaken(0.01, 0)) == 1
    assert mistaken(0.1, 1) != few


def test_a_dry_run_says_how_many_pairs_have_an_error(tmp_path: Path) -> None:
    flags = {"algo": "uft", "demonstration_noise": 0.1, "demonstration_errors": "repeated"}
    told = describe(*made(tmp_path, **flags))
    assert "of 100% of the problems, wrong in the same way after 2 of 16 pairs of state and input" in told


def test_repeated_errors_need_a_chain_and_errors() -> None:
    with pytest.raises(ValueError, match="only for --data chain, not countdown"):
        rewritten(COUNTDOWN, Demonstrations(noise=0.1, errors="repeated"), 0)
    with pytest.raises(ValueError, match=r"there are none; add --demonstration_noise \.1"):
        Demonstrations(errors="repeated")
    for flags, said in (
        ({"data": "countdown", "demonstration_noise": 0.1}, "only for --data chain, not countdown"),
        ({"data": "chain"}, "there are none"),
    ):
        given = {**flags, "algo": "uft", "demonstration_errors": "repeated"}
        with pytest.raises(ExperimentError, match=said):
            refuse_training(build_experiment(given, PROFILES["cpu"]))


@pytest.mark.parametrize("rows", [COUNTDOWN, PUZZLES], ids=["countdown", "kk_logic"])
def test_wrong_steps_of_other_tasks_are_wrong_and_the_rows_stay_whole(rows: list[Row]) -> None:
    spoilt, count = rewritten(rows, Demonstrations(noise=1.0), seed=0)
    assert count.wrong == count.steps == sum(len(row["hint"]) for row in rows)
    for before, after in zip(rows, spoilt, strict=True):
        validate_row(after, "row")
        assert all(a != b for a, b in zip(before["hint"], after["hint"], strict=True))
        assert after["answer"] != before["answer"]
        assert {**after, "hint": 0, "answer": 0} == {**before, "hint": 0, "answer": 0}
    assert np.mean([accuracy(row) for row in spoilt]) < 0.1
    mild, count = rewritten(rows, Demonstrations(noise=0.2), seed=0)
    changed = sum(a != b for x, y in zip(rows, mild, strict=True) for a, b in zip(x["hint"], y["hint"], strict=True))
    # a number that is taken over changes later steps too
    assert count.wrong <= changed
    assert 0.1 < count.wrong / count.steps < 0.3


def test_a_wrong_number_is_taken_over_by_later_steps_and_the_answer() -> None:
    hint = ["We get $x = 12$. ", "So $2x = 24$ and $x = 12$.\n", "Hence 24."]
    answer = "".join(hint) + ANSWER_OPENS + "24" + ANSWER_CLOSES
    steps, text = wrong_text(hint, answer, [True, False, False], [], random.Random(0))
    (x,) = re.findall(r"x = (\d+)\$", steps[0])
    assert (len(x), x) != (2, "12")
    assert steps[1:] == [f"So $2x = 24$ and $x = {x}$.\n", "Hence 24."]
    steps, text = wrong_text(hint, answer, [False, True, False], [], random.Random(0))
    (x,) = re.findall(r"and \$x = (\d+)\$", steps[1])
    assert (steps[0], steps[2]) == (hint[0], "Hence 24.")
    steps, text = wrong_text(hint, answer, [False, False, True], [], random.Random(0))
    (said,) = re.findall(r"Hence (\d+)\.", steps[2])
    assert said != "24"
    assert text == "".join(steps) + ANSWER_OPENS + said + ANSWER_CLOSES


def test_numbers_are_whole_ones_and_a_step_without_any_is_another_solutions() -> None:
    answer = "a" + ANSWER_OPENS + "7" + ANSWER_CLOSES
    assert wrong_text(["a"], answer, [True], ["b", "c"], random.Random(0))[0] == ["b"]
    steps, _ = wrong_text(["It is 1.25 m of 30."], answer, [True], [], random.Random(0))
    assert re.fullmatch(r"It is 1\.25 m of (?!30)[1-9]\d\.", steps[0])
    assert wrong_text(["0."], answer, [True], [], random.Random(0))[0][0] in {f"{n}." for n in range(1, 10)}


def test_a_sham_solution_is_another_problems_and_every_one_is_used_once() -> None:
    mixed = [*CHAINS[:50], *COUNTDOWN]
    rows, _ = rewritten(mixed, Demonstrations(whose="sham"), seed=0)
    for own, row in zip(mixed, rows, strict=True):
        assert row["answer"] != own["answer"]
        assert row["data_source"] == own["data_source"]
        assert row["answer"].startswith("".join(row["hint"]))
    assert sorted(row["answer"] for row in rows) == sorted(row["answer"] for row in mixed)
    assert np.mean([accuracy(row) for row in rows]) < 0.05
    # No solution is borrowed from a problem that has none.
    bare = [{**CHAINS[0], "hint": [], "answer": ""}, *CHAINS[1:3]]
    assert [bool(row["answer"]) for row in rewritten(bare, Demonstrations(whose="sham"), 0)[0]] == [False, True, True]


def text_rows(count: int, alike: int) -> list[dict[str, Any]]:
    """Each question `alike` times, every time with another solution of two steps."""
    rows = []
    for n in range(count):
        hint = [f"There are {n + 10}.\n", f"And {n % 7} more are {n + 10}.\n"]
        asked = [{"role": "user", "content": f"How many are {n // alike}?"}]
        rows.append({"prompt": asked, "hint": hint, "answer": "".join(hint), "data_source": "mine"})
    return rows


@pytest.mark.parametrize("sources", [1, 5, 60])
def test_a_sham_solution_is_never_one_of_the_own_question(sources: int) -> None:
    """Files with several solutions to a question, and rows that are alone in their source."""
    rows = text_rows(60, alike=3)
    for n, row in enumerate(rows):
        row["data_source"] = f"source {n // 3 % sources}"
    own: dict[str, set[str]] = {}
    for row in rows:
        own.setdefault(row["prompt"][0]["content"], set()).add(row["answer"])
    shams = rewritten(rows, Demonstrations(whose="sham"), seed=0)[0]
    assert not any(row["answer"] in own[row["prompt"][0]["content"]] for row in shams)
    with pytest.raises(ValueError, match="all problems that have a solution ask the same question"):
        rewritten(text_rows(4, alike=4), Demonstrations(whose="sham"), seed=0)


def test_steps_counted_as_wrong_differ_from_the_right_ones() -> None:
    """The number that a wrong step changed once must not come back in a later one."""
    rows = text_rows(2000, alike=1)
    found, count = rewritten(rows, Demonstrations(noise=1.0), seed=0)
    assert (count.steps, count.wrong) == (4000, 4000)
    for row, wrong in zip(rows, found, strict=True):
        assert not any(a == b for a, b in zip(row["hint"], wrong["hint"], strict=True))
    alike = [{**row, "hint": ["So it is.\n"], "answer": "So it is.\n"} for row in rows[:20]]
    assert rewritten(alike, Demonstrations(noise=1.0), seed=0)[1].wrong == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"demonstrations": 1.5}, "--demonstrations 1.5: must be from 0 to 1"),
        ({"demonstration_noise": -0.1}, "--demonstration_noise -0.1: must be from 0 to 1"),
        ({"val_samples": -1}, "--val_samples -1: must not be negative"),
    ],
    ids=str,
)
def test_impossible_values_are_refused(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        build_experiment(flags, PROFILES["cpu"])


def made(tmp_path: Path, **flags: Any) -> tuple[Experiment, DataFiles]:
    train, test = tmp_path / "train.parquet", tmp_path / "test.parquet"
    write_rows(train, CHAINS)
    write_rows(test, rows_of(8, Space(), split="test"))
    return build_experiment({"data": "chain", **flags}, PROFILES["cpu"]), DataFiles(train, test, 400, 8, None)


def test_a_run_without_these_flags_trains_on_the_datas_own_file_and_keeps_its_name(tmp_path: Path) -> None:
    experiment, files = made(tmp_path)
    assert demonstrated(experiment, files, tmp_path / "run") == taught(experiment, files) == files
    assert not (tmp_path / "run").exists()
    assert replace(experiment, demonstrations=0.5).hash != experiment.hash
    # The name that this configuration had before there were these settings.
    known = {"demonstrations", "demonstration_noise", "demonstration_errors", "hints", "val_samples"}
    assert known <= set(vars(experiment))
    assert experiment.hash == replace(experiment, hints="own", val_samples=0).hash


def test_a_runs_file_has_all_problems_and_its_supervised_stage_those_with_a_solution(tmp_path: Path) -> None:
    experiment, files = made(tmp_path, algo="sft_rft", demonstrations=0.3, demonstration_noise=0.1, seed=4)
    assert taught(experiment, files).n_train == 120  # as far as a dry run can know
    told = describe(experiment, files)
    assert "of 30% of the problems, 10% of steps wrong" in told
    assert "120 rows / 32" in told
    found = demonstrated(experiment, files, tmp_path / "run")
    expected, count = rewritten(CHAINS, Demonstrations(0.3, 0.1), seed=4)
    assert [(row["hint"], row["answer"]) for row in _rows(found.train)] == [(r["hint"], r["answer"]) for r in expected]
    assert (found.test, found.n_train) == (files.test, 400)
    supervised = taught(experiment, found)
    assert supervised.train.name == SOLVED
    assert supervised.n_train == count.solved == len(read_rows(supervised.train))
    assert sft_steps(experiment, supervised) == count.solved // 32
    # A resumed run finds what it made.
    again = demonstrated(experiment, replace(files, train=tmp_path / "train.parquet"), tmp_path / "run")
    assert again == found


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(file).to_pylist()  # type: ignore[no-any-return]


def test_too_few_solutions_for_a_supervised_step_are_refused(tmp_path: Path) -> None:
    experiment, files = made(tmp_path, algo="sft", demonstrations=0.02)
    with pytest.raises(ExperimentError, match=r"--demonstrations 0.02: \d+ problems have a solution, fewer than"):
        demonstrated(experiment, files, tmp_path / "run")


@pytest.mark.parametrize("algo", [name for name, each in algorithms().items() if each.uses_hints])
def test_a_problem_without_a_solution_starts_from_the_bare_prompt_in_every_algorithm(algo: str) -> None:
    experiment = build_experiment({"algo": algo}, PROFILES["cpu"])
    from types import SimpleNamespace

    s = SimpleNamespace(**hook_settings(experiment))
    for step in range(1, 40):
        plans = draw_plans(experiment.algorithm, [], s, step=step, seed=0, key=str(step), past=None, common=None)
        for plan in plans:
            assert isinstance(plan, Bare | Hint | Demonstration)
            record = as_record(plan, 0)
            assert (record["length"], record["pieces"]) == (0, 0)
    assert At(1, 0).segments == 0


def test_a_random_reward_trains_on_the_rows_of_a_run_without_it() -> None:
    questions = str(ROOT / "examples/custom/questions.jsonl")
    plain, control = (
        build_experiment({"data": questions, **flags}, PROFILES["cpu"]) for flags in ({}, {"reward": "random"})
    )
    assert locate(control, Path("nowhere")) == locate(plain, Path("nowhere"))
    assert control.hash != plain.hash


def test_a_random_reward_does_not_judge_the_data(tmp_path: Path) -> None:
    """Half of all hints alone would score, and half of the solutions would not."""
    experiment, files = made(tmp_path, reward="random")
    check_training(experiment, files)
    unsolved = tmp_path / "unsolved.parquet"
    write_rows(unsolved, rewritten(CHAINS, Demonstrations(whose="sham"), 0)[0])
    with pytest.raises(ExperimentError, match="does not accept the data's own solutions"):
        check_training(experiment, replace(files, train=unsolved))
