"""--data and --val_data: mixtures by weights, data sets as the hub lays them out, several validation sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.countdown import generate as countdown
from data_prep.files import hub_set
from data_prep.preference import schema as preference
from data_prep.schema import packed, read_rows, unpacked
from eval.problems import Settings, load_problems
from recipes.common.errors import ExperimentError
from recipes.data.composed import drawn
from recipes.data.data_check import check_training
from recipes.data.datafiles import DataFiles, prepared
from recipes.flags.resolve import build_experiment
from recipes.settings.data_sets import absolute, data_title, mixture, several
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from reward_fns import compute_score, is_quick
from tests.helpers.front_checks import front_door

CARD = """---
configs:
- config_name: default
  data_files:
{splits}
---
# A data set
"""


def problems(count: int, offset: int, names: Sequence[str] = ("question", "answer")) -> list[dict[str, Any]]:
    numbers = range(offset, offset + count)
    return [dict(zip(names, (f"What is {n} plus {n}?", f"Twice {n}.\n#### {2 * n}"), strict=True)) for n in numbers]


def write(file: Path, rows: Sequence[dict[str, Any]]) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def downloaded(folder: Path, **splits: Sequence[dict[str, Any]]) -> str:
    """A folder as the hub's client leaves it: a card that says which file is which split."""
    told = []
    for split, rows in splits.items():
        write(folder / f"data/{split}-00000-of-00001.jsonl", rows)
        told.append(f"  - split: {split}\n    path: data/{split}-*.jsonl")
    (folder / "README.md").write_text(CARD.format(splits="\n".join(told)))
    return str(folder)


def made(root: Path, **flags: Any) -> tuple[Experiment, DataFiles]:
    experiment = build_experiment({"algo": "uft", "batch_size": 2, **flags}, PROFILES["cpu"])
    return experiment, prepared(experiment, root)


def questions(file: Path) -> list[str]:
    return [row["prompt"][0]["content"].partition("User: ")[2].partition(" Show")[0] for row in read_rows(file)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("countdown", []),
        ("countdown,math", []),
        ("countdown:0.7,math:0.3", [("countdown", 0.7), ("math", 0.3)]),
        ("a/b:train:3,c/d/e:1", [("a/b:train", 0.75), ("c/d/e", 0.25)]),
    ],
)
def test_weights_make_a_mixture_and_commas_alone_do_not(data: str, expected: list[tuple[str, float]]) -> None:
    assert [(each.where, each.weight) for each in mixture(data)] == expected
    assert several(data) == ([data] if expected else data.split(","))


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--data", "countdown:0.5,math"), "'math' has no weight"),
        (("--data", "countdown:0,math:1"), "countdown has weight 0"),
        (("--data", "countdown:1,countdown:2"), "countdown is given twice"),
        (("--data", "countdown,math"), "names several data sets; mix them with --data a:0.7,b:0.3"),
        (("--data", "countdown:1,others:1"), "others is only for evaluation"),
        (("--data", "countdown:1,helpsteer2:1"), "countdown holds problems, helpsteer2 holds answers"),
        (("--data", "countdown:1,cuontdown:1"), "cuontdown: not a task, file or folder; did you mean"),
        (("--data", "countdown", "--val_data", "helpsteer2"), "--val_data helpsteer2: contains answers"),
        (("--data", "countdown", "--val_data", "mth"), "--val_data mth: not a task"),
        (("--data", "countdown", "--columns", "question=q"), "only for a file or data set of your own"),
        (("--eval", "--data", "countdown:1,math:1", "--model", "models/tiny-countdown"), "weights have no effect"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(flags: tuple[str, ...], why: str) -> None:
    done = front_door("--profile", "cpu", *flags, "--dry_run")
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_names_of_folders_and_full_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.jsonl", [])
    monkeypatch.chdir(tmp_path)
    assert data_title("a.jsonl:0.5,countdown:0.5") == "a.jsonl+countdown"
    assert data_title("owner/name/part:train") == "name"
    assert absolute("a.jsonl:0.5,countdown:0.5") == f"{file}:0.5,countdown:0.5"


@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(st.floats(0.01, 1), st.integers(1, 500)), min_size=1))
def test_a_mixture_takes_no_row_twice_and_all_of_one_set(sets: dict[str, tuple[float, int]]) -> None:
    total = sum(weight for weight, _ in sets.values())
    weights = {name: weight / total for name, (weight, _) in sets.items()}
    there = {name: rows for name, (_, rows) in sets.items()}
    counts = drawn(weights, there)
    assert all(1 <= counts[name] <= there[name] for name in sets)
    assert any(counts[name] == there[name] for name in sets)
    taken = sum(counts.values())
    assert all(abs(counts[name] - weights[name] * taken) <= len(sets) for name in sets)


def test_a_mixture_keeps_each_rows_reward_and_is_drawn_by_seed(tmp_path: Path) -> None:
    """Of 60 problems of one and 8 of the other, 3 to 1: 24 and 8. Ground truths of both kinds in one file."""
    own = write(tmp_path / "own.jsonl", problems(60, 0))
    countdown.prepare(tmp_path / "numbers", n_train=8, n_test=4, seed=0)
    data = f"{own}:0.75,{tmp_path / 'numbers'}:0.25"
    files = {seed: made(tmp_path, data=data, seed=seed)[1] for seed in (0, 1)}
    rows = read_rows(files[0].train)
    assert [sum(row["data_source"] == source for row in rows) for source in ("math", "countdown")] == [24, 8]
    assert [row["extra_info"]["index"] for row in rows] == list(range(32))
    assert {row["data_source"] for row in read_rows(files[0].test)} == {"math@own", "countdown@numbers"}
    # All of the smaller one and the same test problems whatever the seed; others of the larger one.
    assert read_rows(files[0].test) == read_rows(files[1].test)
    assert set(questions(files[0].train)) != set(questions(files[1].train))
    assert made(tmp_path, data=data)[1].train.read_bytes() == files[0].train.read_bytes()
    for row in (*rows, *read_rows(files[0].test)):
        truth = row["reward_model"]["ground_truth"]
        assert compute_score(row["data_source"], row["answer"], truth)["score"] == 1.0
    # The checks before a start, overlap among them, read the file too.
    experiment, whole = made(tmp_path, data=data)
    check_training(experiment, whole)


def test_the_order_of_a_mixture_has_both_sets_everywhere(tmp_path: Path) -> None:
    a, b = (write(tmp_path / f"{name}.jsonl", problems(100, at)) for name, at in (("a", 0), ("b", 1000)))
    rows = questions(made(tmp_path, data=f"{a}:1,{b}:1")[1].train)
    of_a = [int(text.split()[2]) < 1000 for text in rows]
    assert 30 < 100 * sum(of_a[: len(of_a) // 2]) / (len(of_a) // 2) < 70


def test_validation_sets_are_counted_apart_and_nothing_of_the_data_is_held_out(tmp_path: Path) -> None:
    own = write(tmp_path / "own.jsonl", problems(20, 0))
    easy, hard = (write(tmp_path / f"{name}.jsonl", problems(3, at)) for name, at in (("easy", 100), ("hard", 200)))
    _, files = made(tmp_path, data=own, val_data=f"{easy},{hard}")
    assert (files.n_train, files.n_test) == (20, 6)
    assert [row["data_source"] for row in read_rows(files.test)] == ["math@easy"] * 3 + ["math@hard"] * 3
    assert {row["data_source"] for row in read_rows(files.train)} == {"math"}
    settings = Settings("m", None, str(files.test), "", (), "completion", None, 1, 0.0, 1.0, 64, 64, -1, 0, "float32")
    assert [problem.data_source for problem in load_problems(settings)] == ["math@easy"] * 3 + ["math@hard"] * 3
    assert is_quick("countdown@numbers")


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    own = write(tmp_path / "own.jsonl", problems(20, 0))
    twins = [write(tmp_path / name / "test.jsonl", problems(3, at)) for name, at in (("x", 100), ("y", 200))]
    with pytest.raises(ExperimentError, match="two data sets are named test"):
        made(tmp_path, data=own, val_data=",".join(twins))


def test_columns_of_a_mixture_hold_where_they_are_and_must_be_somewhere(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", problems(12, 0, ("ask", "reply")))
    b = write(tmp_path / "b.jsonl", problems(12, 100))
    flags = {"data": f"{a}:1,{b}:1", "val_data": b, "columns": ("question=ask", "answer=reply")}
    with pytest.raises(ExperimentError, match="no column replly in any of"):
        made(tmp_path, **{**flags, "columns": ("question=ask", "answer=replly")})
    _, files = made(tmp_path, **flags)
    # What is both trained on and validated on gives a part to each.
    assert 0 < files.n_test < 12
    assert files.n_train == 2 * (12 - files.n_test)


def test_answers_are_mixed_by_pairs_whose_groups_stay_apart(tmp_path: Path) -> None:
    def pairs(count: int, word: str) -> list[dict[str, Any]]:
        return [{"prompt": f"{word} {n}?", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(count)]

    a, b, held, more = (
        write(tmp_path / f"{name}.jsonl", pairs(count, name))
        for name, count in (("a", 6), ("b", 12), ("c", 4), ("d", 4))
    )
    _, files = made(tmp_path, algo="dpo", data=f"{a}:1,{b}:1", val_data=f"{held},{more}")
    rows = preference.read_rows(files.train)
    assert len(rows) == 24
    assert len({row["group"] for row in rows}) == 12
    shown = preference.read_rows(files.test)
    assert {row["data_source"] for row in shown} == {"custom@c", "custom@d"}
    assert len({row["group"] for row in shown}) == 8


def test_a_folder_as_the_hub_lays_it_out(tmp_path: Path) -> None:
    """Its own splits are the two files; of one with a single split a tenth is held out; a named split is trained on."""
    both = downloaded(tmp_path / "both", train=problems(12, 0), test=problems(4, 100))
    alone = downloaded(tmp_path / "alone", train=problems(40, 0))
    _, files = made(tmp_path, data=both)
    assert (files.n_train, files.n_test) == (12, 4)
    _, files = made(tmp_path, data=alone)
    assert files.n_train + files.n_test == 40
    assert 0 < files.n_test < 12
    _, files = made(tmp_path, data=f"{both}:train[:6]")
    assert (files.n_train, files.n_test) == (6, 4)
    with pytest.raises(ExperimentError, match=r"trian.*'train', 'test'"):
        made(tmp_path, data=f"{both}:trian")
    done = front_door(
        "--profile", "cpu", "--eval", "--data", f"{both}:test", "--model", "models/tiny-countdown", "--dry_run"
    )
    assert done.returncode == 0, done.stderr


def test_an_evaluation_of_a_task_and_a_file_with_columns_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", problems(30, 0, ("ask", "reply")))
    flags = ("--profile", "cpu", "--eval", "--model", "models/tiny-countdown", "--columns", "question=ask,answer=reply")
    done = front_door(*flags, "--data", f"countdown,{file}", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "evaluates countdown, mine.jsonl" in done.stdout
    assert front_door(*flags, "--data", "countdown", "--dry_run").returncode == 2


def test_a_data_set_of_the_hub_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client of the hub is asked for, and that the rows it hands over are the ones that are trained on."""
    asked = []

    def load(wanted: hub_set.HubSet, *, streaming: bool) -> list[dict[str, Any]]:
        asked.append((str(wanted), streaming))
        return problems(9, {"train": 0, "test": 100}[wanted.split])

    monkeypatch.setattr(hub_set, "_load", load)
    monkeypatch.setattr("recipes.data.composed.split_names", lambda name, part: ["train", "test"])
    hub_set.hub_columns.cache_clear()
    experiment, files = made(tmp_path, data="someone/arithmetic/main")
    assert (files.n_train, files.n_test) == (9, 9)
    assert asked == [
        ("someone/arithmetic/main:train", True),
        ("someone/arithmetic/main:train", False),
        ("someone/arithmetic/main:test", False),
    ]
    assert "arithmetic" in experiment.default_name
    assert "/" not in experiment.default_name


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(wanted: hub_set.HubSet, *, streaming: bool) -> list[dict[str, Any]]:
        raise ConnectionError("Couldn't reach 'someone/else'\non the Hub")

    monkeypatch.setattr(hub_set, "_load", load)
    monkeypatch.setattr("recipes.data.composed.split_names", lambda name, part: ["train"])
    hub_set.hub_columns.cache_clear()
    done = front_door("--profile", "cpu", "--data", "someone/else", "--dry_run")
    assert done.returncode == 2
    assert "cannot be loaded (Couldn't reach 'someone/else' on the Hub); check the name" in done.stderr
    assert done.stderr.strip().count("\n") == 0


@given(st.lists(st.sampled_from([{"target": "1"}, {"numbers": [1], "target": 2}, "text", "{1, 2}", ["a"]]), min_size=1))
def test_ground_truths_of_several_kinds_come_back(truths: list[Any]) -> None:
    rows = packed([{"reward_model": {"style": "rule", "ground_truth": truth}} for truth in truths])
    found = [row["reward_model"]["ground_truth"] for row in rows]
    assert [unpacked(truth) for truth in found] == truths
    assert len({type(truth) for truth in found}) == 1


def dry_run(*words: str) -> Any:
    return front_door("--algo", "uft", "--profile", "cpu", "--dry_run", *words)


def test_the_dry_run_counts_and_judges_a_mixture_with_a_generated_part(tmp_path: Path) -> None:
    few = write(tmp_path / "few.jsonl", problems(14, 0))
    done = dry_run("--data", f"{few}:0.5,chain:0.5")
    assert "24 rows, fewer than --batch_size 32" in done.stderr
    many = write(tmp_path / "many.jsonl", problems(200, 0))
    assert dry_run("--data", f"{many}:0.5,chain:0.5", "--max_prompt_length", "1024").returncode == 0
    long = [{**row, "question": row["question"] + " really" * 700} for row in problems(200, 0)]
    done = dry_run("--data", f"{write(tmp_path / 'long.jsonl', long)}:0.5,chain:0.5")
    assert "the shortest prompt of math in the training part of" in done.stderr
    (tmp_path / "r.py").write_text("def reward(response, answer):\n    raise KeyError(answer)\n")
    done = dry_run("--data", f"{many}:0.5,chain:0.5", "--reward", f"{tmp_path / 'r.py'}:reward")
    assert "r.py:reward raised KeyError" in done.stderr


def test_long_validation_prompts_are_named_by_their_flag(tmp_path: Path) -> None:
    long = [{**row, "question": row["question"] + " really" * 700} for row in problems(40, 0)]
    done = dry_run("--data", "chain", "--val_data", write(tmp_path / "long.jsonl", long))
    assert f"the shortest prompt of --val_data {tmp_path / 'long.jsonl'} has" in done.stderr


def test_the_share_of_prompts_that_are_left_out_is_told(tmp_path: Path) -> None:
    mixed = [{**row, "question": row["question"] + " really" * 700 * (n % 2)} for n, row in enumerate(problems(200, 0))]
    done = dry_run("--data", write(tmp_path / "mixed.jsonl", mixed), "--max_prompt_length", "1024")
    assert done.returncode == 0, done.stderr
    assert "prompts sampled from the training part of" in done.stdout
