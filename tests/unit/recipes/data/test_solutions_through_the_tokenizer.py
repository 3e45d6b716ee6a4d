"""Before a run starts, and for --dry_run, solutions and hints are judged as the model's tokenizer hands them on."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.chain import files as chain
from data_prep.countdown import generate as countdown
from data_prep.kk_logic import generate as kk_logic
from data_prep.math import convert as math_data
from data_prep.prompt_styles import STYLES, restyle
from data_prep.schema import read_rows, write_rows
from data_prep.tokens import decode_response, encode_given
from recipes.common.errors import ExperimentError
from recipes.data.data_check import check_training
from recipes.data.datafiles import locate
from recipes.flags.resolve import build_experiment
from recipes.run.dry_run import dry_run
from recipes.settings.profiles import PROFILES
from recipes.settings.tasks import TASKS
from reward_fns import compute_score
from tests import ROOT
from tests.helpers.tokenizers_of_others import EMBEDDED, saved, tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "countdown"
    countdown.prepare(folder, n_train=40, n_test=8, seed=0)
    return folder


def model(folder: Path, kind: str) -> Path:
    saved(kind, folder, eos_token_id=0)
    (folder / "config.json").write_text((EMBEDDED / "config.json").read_text())
    return folder


def start(data: Path, model: Path, **flags: Any) -> None:
    e = build_experiment(
        {"algo": "uft", "data": str(data), "batch_size": 8, "model": str(model), **flags}, PROFILES["cpu"]
    )
    check_training(e, locate(e, ROOT))


@pytest.mark.parametrize("kind", ["plain", "tags"])
def test_tokenizers_that_keep_the_answer_are_accepted(data: Path, kind: str, tmp_path: Path) -> None:
    start(data, model(tmp_path, kind))


@pytest.mark.parametrize("algo", ["uft", "rft", "sft"])
def test_a_tokenizer_that_loses_the_answer_is_refused(data: Path, algo: str, tmp_path: Path) -> None:
    """One that has no sign for a bracket, and so cannot write the answer."""
    folder = model(tmp_path, "plain")
    file = folder / "tokenizer.json"
    stored = json.loads(file.read_text())
    stored["normalizer"] = {"type": "Replace", "pattern": {"String": "</answer>"}, "content": ""}
    file.write_text(json.dumps(stored))
    with pytest.raises(ExperimentError) as refused:
        start(data, folder, algo=algo)
    assert "the reward does not accept the data's own solutions: 40 of the first 40 rows" in str(refused.value)
    assert f"The tokenizer of {folder} turns it into '" in str(refused.value)
    assert "choose another --reward or --model" in str(refused.value)
    e = build_experiment({"algo": algo, "data": str(data), "batch_size": 8, "model": str(folder)}, PROFILES["cpu"])
    with pytest.raises(ExperimentError, match="The tokenizer of"):
        dry_run(e, tmp_path / "out")


def test_what_is_no_fault_of_the_tokenizer_does_not_name_it(data: Path, tmp_path: Path) -> None:
    rows = [
        {**row, "reward_model": {**row["reward_model"], "ground_truth": {"numbers": [1], "target": 2}}}
        for row in read_rows(data / "train.parquet")
    ]
    write_rows(tmp_path / "data/train.parquet", rows)
    write_rows(tmp_path / "data/test.parquet", read_rows(data / "test.parquet"))
    with pytest.raises(ExperimentError, match=r"40 of the first 40 rows .* Fix the data") as refused:
        start(tmp_path / "data", EMBEDDED)
    assert "tokenizer" not in str(refused.value)


def test_a_hint_that_scores_anything_by_a_reward_of_ours_is_refused_by_a_dry_run_too(
    data: Path, tmp_path: Path
) -> None:
    """An answer that is merely readable, in the hint of one row of a file made by hand."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Any] = list(read_rows(data / "train.parquet"))
    hint = ["</think><answer> 1 + 1 </answer>", *rows[5]["hint"]]
    rows[5] = {
        **rows[5],
        "hint": hint,
        "answer": "".join(hint) + rows[5]["answer"].removeprefix("".join(rows[5]["hint"])),
    }
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data/train.parquet")
    write_rows(tmp_path / "data/test.parquet", read_rows(data / "test.parquet"))
    flags = {"algo": "uft", "data": str(tmp_path / "data"), "batch_size": 8}
    e = build_experiment(flags, PROFILES["cpu"])
    message = r"row 5: a hint alone, the first 1 of the \d texts in column hint, scores 0\.1"
    with pytest.raises(ExperimentError, match=message):
        check_training(e, locate(e, ROOT))
    with pytest.raises(ExperimentError, match=message):
        dry_run(e, tmp_path / "out")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, list[Any]]:
    folder = tmp_path_factory.mktemp("tasks")
    kk_logic.prepare(folder / "kk_logic", n_train=40, n_test=8, seed=0)
    chain.prepare(folder / "chain", n_train=40, n_test=8, seed=0)
    solutions = [
        "First, $3 + 4 = 7$. So the answer is $\\boxed{7}$.",
        "The answer is $\\boxed{7}$. To check, $7 - 4 = 3$.",
        "It is \\boxed 7, that is $\\boxed{7}$.",
        "We find $\\fbox{7}$, in all $\\boxed{7}$. Answer: 7. #### 7",
    ]
    problems = [
        {"problem": f"What is $3 + 4$? ({n})", "solution": text, "level": "Level 4"} for n, text in enumerate(solutions)
    ]
    rows = [math_data.to_row(problem, n, "train") for n, problem in enumerate(problems)]
    return {
        "countdown": list(read_rows(data / "train.parquet")),
        "kk_logic": list(read_rows(folder / "kk_logic/train.parquet")),
        "chain": list(read_rows(folder / "chain/train.parquet")),
        "math": rows,
    }


ASKED = [
    (name, style)
    for name, task in TASKS.items()
    if task.kind == "problems" and not task.only_for_evaluation
    for style in task.prompt_styles
]


@pytest.mark.parametrize("kind", ["plain", "tags", "thinking_tags"])
@pytest.mark.parametrize(("name", "style"), ASKED)
def test_no_hint_alone_scores_in_any_style_of_any_task(
    tasks: dict[str, list[Any]], name: str, style: str, kind: str
) -> None:
    """Neither full marks nor the share for an answer that can be read, with any tokenizer, however much is given."""
    made = tokenizer(kind)
    for number, row in enumerate(tasks[name]):
        shown = restyle(row, STYLES[style], f"row {number}") if style != "completion" else row
        truth = shown["reward_model"]["ground_truth"]
        for n in range(len(shown["hint"]) + 1):
            alone = decode_response(made, encode_given(made, "".join(shown["hint"][:n]), "template"))
            for text in (alone, alone + " ", alone + "\n"):
                found = compute_score(shown["data_source"], text, truth, answer_format=STYLES[style].answer_format)
                assert (found["score"], found["acc"]) == (0.0, 0.0), (number, n, text)
        whole = compute_score(shown["data_source"], shown["answer"], truth, answer_format=STYLES[style].answer_format)
        assert whole["score"] == 1.0, "so that the hints are hints of a solution that is paid"
