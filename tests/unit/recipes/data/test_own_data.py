"""Data of one's own: a batch that its rows fill, one split for all, and a --dry_run that tells the truth of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import run as run_py
from recipes.commands.train import plan_training
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import write_text
from recipes.run.dry_run import dry_run
from recipes.settings.reward_file import resolved_reward
from recipes.settings.saved import to_yaml
from tests import ROOT
from tests.helpers.front_checks import EXAMPLES, experiment, front_door, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


def test_a_dry_run_says_once_what_a_mixture_is_made_of(tmp_path: Path) -> None:
    lines = (EXAMPLES / "questions.jsonl").read_text().splitlines()
    for name, rows in (("a", lines[:9]), ("b", lines[3:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    mixed = f"{tmp_path}/a.jsonl:0.7,{tmp_path}/b.jsonl:0.3"
    done = front_door("--profile", "cpu", "--data", mixed, "--allow_overlap", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "(default: 32)" in done.stdout
    assert done.stdout.count("mixture of ") == 2, "one line a file"


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        (("--algo", "uft", "--data", "examples/custom/questions.jsonl"), "10 rows"),
        (("--algo", "sft", "--data", "examples/custom/questions.jsonl"), "10 rows"),
        (("--algo", "dpo", "--data", "examples/custom/preferences.jsonl"), "11 pairs (of 27 answers in all)"),
        (("--algo", "una", "--data", "examples/custom/preferences.jsonl"), "22 answers (of 27 answers in all)"),
    ],
)
def test_the_examples_train_with_the_readmes_command(flags: tuple[str, ...], rows: str) -> None:
    """The batch follows the rows, and --dry_run speaks of those there are."""
    done = front_door("--profile", "cpu", *flags, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "(default: 32)" in done.stdout
    assert rows in done.stdout
    assert "0 rows" not in done.stdout.replace("10 rows", "")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--algo", "dpo", "--data", "helpsteer2"), "dpo, beta 0.1, on answers that the start will load"),
        (("--algo", "sft", "--data", "ultrachat"), "sft, on answers that the start will load"),
        (("--algo", "grpo", "--lora_rank", "8"), "LoRA rank 8, alpha 16"),
    ],
)
def test_a_dry_run_says_nothing_of_rows_it_has_not_seen_and_settings_a_loss_has_not(
    flags: tuple[str, ...], line: str
) -> None:
    done = front_door("--profile", "cpu", *flags, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert line in done.stdout


def test_a_batch_that_was_asked_for_stays_and_the_refusal_names_one_that_works(tmp_path: Path) -> None:
    flags = ("--profile", "cpu", "--data", "examples/custom/questions.jsonl", "--batch_size", "32")
    for also in ((), ("--dry_run",)):
        done = front_door(*flags, "--out", str(tmp_path / "run"), *also)
        assert done.returncode == 2
        assert "10 rows, fewer than --batch_size 32" in done.stderr
        assert "use --batch_size 10 or less" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_the_batch_can_be_shared_by_the_devices(ranks: int) -> None:
    flags = ("--profile", "h100x8", "--model", "Qwen/Qwen2.5-0.5B", "--n_gpu", str(ranks), "--dry_run")
    given = vars(run_py.parser().parse_args([*flags, "--data", str(EXAMPLES / "questions.jsonl")]))
    for mode in ("visible_devices", "eval", "sweep", "reproduce", "pipeline"):
        given.pop(mode)
    planned = plan_training(given)[1]
    assert planned.batch_size == 10 // ranks * ranks
    assert planned.mini_batch_size * planned.n_rollout % ranks == 0


def test_the_scale_of_scores_is_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}", "score": 1 + n % 10} for n in range(30)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--profile", "cpu", "--algo", "una", "--data", str(file), "--dry_run")
    asked = front_door(*flags)
    assert asked.returncode == 2
    assert "--score-min and --score-max" in asked.stderr
    told = front_door(*flags, "--score-min", "1", "--score_max", "10")
    assert told.returncode == 0, told.stderr


def test_the_split_of_a_file_is_the_same_for_all_seeds_and_for_an_evaluation(tmp_path: Path) -> None:
    """With a split of each seed's own, an evaluation of a run would ask what the run was trained on."""
    from recipes.data.datafiles import locate

    places = {locate(experiment(EXAMPLES / "questions.jsonl", seed=seed), tmp_path).test for seed in range(3)}
    assert len(places) == 1


def test_an_evaluation_knows_the_data_by_its_place_however_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from recipes.commands.evaluate import _as_trained
    from recipes.settings.saved import training_record

    record = training_record(experiment(EXAMPLES / "questions.jsonl", max_response_length=33))
    monkeypatch.chdir(EXAMPLES)
    nothing = dict.fromkeys(("prompt_style", "max_prompt_length", "max_response_length"))
    assert _as_trained(record, {**nothing, "data": "questions.jsonl"})["max_response_length"] == 33
    assert "max_response_length" not in _as_trained(record, {**nothing, "data": "countdown"})
    given = {**nothing, "data": "questions.jsonl", "max_response_length": 7}
    assert "max_response_length" not in _as_trained(record, given)


def test_a_dry_run_refuses_what_the_start_refuses(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_text(tmp_path / "run/experiment.yaml", to_yaml(experiment(folder)))
    flags = ("--profile", "cpu", "--data", str(folder), "--dry_run")
    for more, named in (
        (("--out", str(tmp_path / "run")), "already holds a run; add --resume"),
        (("--reward", f"{EXAMPLES / 'reward.py'}:rewrad"), "has no function 'rewrad'"),
    ):
        done = front_door(*flags, *more)
        assert done.returncode == 2
        assert named in done.stderr
        assert done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize("mode", [(), ("--sweep", "--seeds", "0,1"), ("--pipeline", "sft,rft")])
def test_a_dry_run_writes_no_data(mode: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / f"own{tmp_path.name}.jsonl"
    file.write_bytes((EXAMPLES / "questions.jsonl").read_bytes())
    done = front_door(*mode, "--profile", "cpu", "--data", str(file), "--dry_run")
    assert done.returncode == 0, done.stderr
    assert not list((ROOT / "data").glob(f"{file.stem}-*"))


def test_a_dry_run_judges_a_few_rows_of_what_is_not_generated_yet(tmp_path: Path) -> None:
    """A reward that pays the hint is refused before anything was generated."""
    (tmp_path / "pays.py").write_text("def pays(response, answer):\n    return 1.0\n")
    flags = ("--profile", "cpu", "--n_train", "4000", "--n_test", "77", "--reward", f"{tmp_path / 'pays.py'}:pays")
    done = front_door(*flags, "--dry_run")
    assert done.returncode == 2
    assert "a hint alone" in done.stderr


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        "run.py --profile cpu --dry_run full --out {}/run",
        "run.py --help",
        "-m data_prep --help",
        "-m data_prep validate examples/custom/questions.jsonl",
        "-m bench.lab --help",
        "-m recipes.doctor --help",
    ],
)
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(command: str, buffered: bool, tmp_path: Path) -> None:
    """As with | head, which here is gone before the first line."""
    reader, output = os.pipe()
    os.close(reader)
    env = os.environ | ({} if buffered else {"PYTHONUNBUFFERED": "1"})
    words = [sys.executable, *command.format(tmp_path).split()]
    done = subprocess.run(words, stdout=output, stderr=subprocess.PIPE, env=env, text=True, check=False, cwd=ROOT)
    os.close(output)
    assert done.stderr == ""


def test_a_local_copy_of_a_tasks_data_is_read_by_a_dry_run(tmp_path: Path) -> None:
    for split, count in (("train", 40), ("test", 70)):
        rows = [
            {"problem": f"{split} {n}?", "solution": f"So \\boxed{{{n}}}.", "level": "Level 3", "type": "Algebra"}
            for n in range(count)
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = front_door("--profile", "cpu", "--data", "math", "--data_path", str(tmp_path), "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "passes over 40 rows; validation on 64 rows" in done.stdout


REWARDS = """
import math, functools
from math import isclose
RATE = 0.5
NAMES: list
class Judge: ...
async def later(response, answer): ...
def one(response): ...
def none(): ...
def four(a, b, c, d): ...
def named(response, answer, *, strict): ...
def two(response, answer): ...
def three(response, answer, question): ...
def many(*texts): ...
def more(response, answer, question, weight=1): ...
made = functools.partial(two)
if RATE:
    def inner(response, answer): ...
"""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("RATE", "is not a function"),
        ("NAMES", "is not a function"),
        ("math", "is a module"),
        ("Judge", "is a class"),
        ("later", "is async"),
        ("one", "takes (response)"),
        ("none", "takes ()"),
        ("four", "takes (a, b, c, d)"),
        ("named", "takes (response, answer, *, strict)"),
        ("tow", "has no function 'tow'; did you mean 'two'?"),
        *((each, "") for each in ("two", "three", "many", "more", "made", "inner", "isclose")),
    ],
)
def test_what_can_be_no_reward_is_refused_without_importing_it(name: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(REWARDS)
    if not why:
        assert resolved_reward(f"{file}:{name}") == f"{file}:{name}"
        return
    with pytest.raises(ExperimentError, match=re.escape(why)):
        resolved_reward(f"{file}:{name}")


@pytest.fixture(scope="module")
def unsolved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of questions without any solution, and with a solution of every other one."""
    place = tmp_path_factory.mktemp("unsolved")
    for name, every in (("none", 99), ("half", 2)):
        rows = [
            {"question": f"What is {a} plus {a}?", "answer": str(2 * a)}
            | ({"solution": f"It is twice {a}.\nThat is {2 * a}."} if a % every == 1 and every < 99 else {})
            for a in range(20)
        ]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: place / f"{name}.jsonl" for name in ("none", "half")}


@pytest.mark.parametrize("algo", ["uft", "relift", "opsd"])
def test_where_no_problem_has_a_solution_nothing_can_be_seen_of_one(unsolved: dict[str, Path], algo: str) -> None:
    def plan(algo: str, name: str) -> tuple[int, str]:
        flags = ("--profile", "cpu", "--algo", algo, "--data", str(unsolved[name]), "--batch_size", "4", "--dry_run")
        done = front_door(*flags)
        return done.returncode, done.stdout + done.stderr

    code, said = plan(algo, "none")
    assert code == 2
    assert f"none of the 17 training problems has a solution, which --algo {algo} needs" in said
    code, said = plan(algo, "half")
    assert code == 0, said
    without = "they get no hints" if algo == "uft" else "none is shown or learned there"
    assert f"of 17 rows have no solution: {without}" in said
    code, said = plan("sft", "none")
    assert code == 0, said
    assert "17 of 17 rows have no solution: only the answer is learned from them" in said
    assert "models/tiny-countdown was made for countdown and knows little else" in said
    assert "no solution" not in plan("rft", "none")[1]


def test_a_file_of_many_rows_is_read_by_a_dry_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(200)]
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"question": "And now?", "answer": ""}]))
    monkeypatch.setattr("recipes.data.datafiles.MANY_ROWS", 1)
    with pytest.raises(ExperimentError, match="row 201, column answer: empty"):
        dry_run(experiment(file, algo="rft"), tmp_path / "out")
    monkeypatch.setattr("recipes.data.datafiles.LARGE_FILE", 1)
    assert "rows that the start will load" in dry_run(experiment(file, algo="rft"), tmp_path / "out")


def test_an_evaluation_of_a_file_says_which_part_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_py.main(["--eval", "--profile", "cpu", "--data", str(EXAMPLES / "questions.jsonl"), "--dry_run"]) == 0
    assert "2 of 12 problems, the part that training holds out" in capsys.readouterr().out
