"""The end of a run: what it cost over all legs, when it stops early, what its card and its last lines say."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recipes import ROOT
from recipes.common.run_dir import RunDir, append_metrics, read_json, write_json, write_text
from recipes.data.datafiles import locate, prepared
from recipes.flags.resolve import build_experiment
from recipes.run.closing import finish, serve_command
from recipes.run.model_card import command, model_card
from recipes.run.spent import UNDER_WAY, Spent, begin, count, count_killed, spent, tokens
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from tests.helpers.front_checks import experiment, finished_on_disk, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


# --- what it cost -----------------------------------------------------------------------------------------------------


def test_legs_add_up_those_that_were_killed_too(tmp_path: Path) -> None:
    run, stage = RunDir(tmp_path), RunDir(tmp_path / "sft")
    assert spent(run) == Spent()
    begin(run, stage.path)
    count(run, 10.0, 5)
    assert not (run.path / UNDER_WAY).exists()
    count_killed(run)
    assert spent(run) == Spent(10.0, 5)
    began = time.time() - 100
    write_json(run.path / UNDER_WAY, {"time": began, "folder": str(stage.path)})
    write_text(stage.progress, "{}")
    os.utime(stage.progress, (began + 30, began + 30))
    write_text(stage.log, "")
    os.utime(stage.log, (began + 20, began + 20))
    count_killed(run)
    assert spent(run).seconds == pytest.approx(40.0)
    assert spent(run).peak_memory_bytes == 5
    count_killed(run)
    assert spent(run).seconds == pytest.approx(40.0)


def test_a_leg_killed_before_its_first_sign_of_life_took_no_time(tmp_path: Path) -> None:
    begin(RunDir(tmp_path), tmp_path / "nothing")
    count_killed(RunDir(tmp_path))
    assert spent(RunDir(tmp_path)).seconds == 0


def test_tokens_are_those_of_all_stages(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    append_metrics(RunDir(tmp_path / "sft").metrics, 1, {"train/global_tokens": 100})
    append_metrics(run.metrics, 0, {"val/acc": 0.5})
    append_metrics(run.metrics, 1, {"perf/total_num_tokens": 50, "uft/generated": 20.0})
    append_metrics(run.metrics, 2, {"perf/total_num_tokens": 60, "uft/generated": 30.0})
    assert tokens(run) == {"tokens generated": 50, "tokens trained": 210}


# --- card and last lines ----------------------------------------------------------------------------------------------

SUMMARY = {
    "val/acc before": 0.1,
    "val/acc last": 0.5,
    "val/acc best": 0.6,
    "best step": 2,
    "last step": 4,
    "seconds": 90.0,
    "tokens trained": 12345,
    "tokens generated": 678,
}


@pytest.mark.parametrize("algo", ["uft", "sft", "sft_rft", "grpo", "una_online", "dpo", "una_sft"])
def test_a_card_names_what_the_weights_were_made_of(algo: str, folder: Path, tmp_path: Path) -> None:
    answers = algo in ("dpo", "una_sft")
    flags = {"algo": algo, "data": "countdown_preference" if answers else str(folder), "seed": 3, "lr": 2e-5}
    e = build_experiment(flags, PROFILES["cpu"])
    run = RunDir(tmp_path / "run")
    append_metrics(run.metrics, 0, {"val/acc": 0.1, "val/truncated": 0.25})
    append_metrics(run.metrics, 4, {"val/acc": 0.5})
    card = model_card(e, run, locate(e, ROOT) if answers else prepared(e, ROOT), SUMMARY, flags, kind="last")
    text = str(card)
    assert card.data.pipeline_tag == "text-generation"
    assert e.algorithm.name in card.data.tags
    assert card.data.eval_results[0].metric_value == 0.5
    for part in (
        "models/tiny-countdown",
        f"`{e.algorithm.name}`: {e.algorithm.title}",
        "10.0% before, 50.0% after",
        f"python3 run.py --algo {algo} --data",
        "| lr | 2e-05 |" if algo != "sft" else "| sft_lr | 2e-05 |",
        f"| configuration | {e.hash}, seed 3 |",
        "| versions | Python 3.",
        " trl " if answers else " verl ",
        "| val/acc | 0.1000 (step 0) | 0.5000 (step 4) |",
        "| val/truncated | 0.2500 (step 0) | 0.2500 (step 0) |",
        "12,345 trained on, 678 generated",
        "1.5 min on 1 cpu device(s)",
    ):
        assert part in text, part
    assert f"| batch_size | {e.alignment.batch_size if answers else e.batch_size} |" in text
    assert ("| lr |" in text) == (algo != "sft")
    assert ("| epochs |" in text) == answers
    assert ("| sft_loss_coef |" in text) == (algo == "uft")
    assert ("| beta |" in text) == (algo in ("dpo", "una_sft", "una_online"))


def test_where_the_base_is_not_beaten_the_best_is_that_of_the_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder, T=4, test_freq=2, own_texts=0)
    finished_on_disk(run, e)
    write_text(run.metrics, "")
    for step, value in ((0, 0.7), (2, 0.6), (4, 0.5)):
        append_metrics(run.metrics, step, {"val/acc": value})
    (run.hf / "best").mkdir(parents=True)
    write_json(run.hf / "best.json", {"step": 2, "val/acc": 0.6})
    finish(e, run, prepared(e, ROOT), {"algo": "uft"})
    said = capsys.readouterr().out
    assert "no later validation was higher; the best is 60.0%" in said
    assert f"best step: {run.hf / 'best'}" in said
    summary = read_json(run.summary)
    assert (summary["best step"], summary["val/acc best"], summary["val/acc before"]) == (2, 0.6, 0.7)
    assert "Step 2: the most accurate of those saved" in (run.hf / "best/README.md").read_text()
    assert "Step 0" not in (run.hf / "best/README.md").read_text()


def test_a_training_on_answers_says_what_it_measured_on_those_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    e = build_experiment({"algo": "dpo", "data": "countdown_preference"}, PROFILES["cpu"])
    run = RunDir(tmp_path / "run")
    (run.path / "eval/own_texts").mkdir(parents=True)  # no answers to problems
    for step, loss, right in ((0, 0.693, 0.5), (8, 0.41, 0.9)):
        append_metrics(run.metrics, step, {"val/loss": loss, "val/pairs/accuracy": right})
    finish(e, run, locate(e, ROOT), {"algo": "dpo"})
    said = capsys.readouterr().out
    assert "held out       loss 0.693 before, 0.410 after, pairs in order 0.500 before, 0.900 after" in said
    assert "answers  " not in said
    assert read_json(run.summary)["val/pairs/accuracy last"] == 0.9


def test_a_card_names_nothing_of_this_machine(folder: Path, tmp_path: Path) -> None:
    columns = {"columns": {"question": "Frage", "answer": "Ergebnis"}}
    e = replace(experiment(folder), model="/home/me/models/mine", data_options=columns)
    text = str(model_card(e, RunDir(tmp_path), prepared(experiment(folder), ROOT), SUMMARY, {}, kind="adapter"))
    assert "# LoRA adapter of mine after uft\n" in text
    assert "| base model | mine (a local folder) |" in text
    assert "its base is named in the table" in text
    assert "columns question=Frage, answer=Ergebnis" in text


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("Qwen/Qwen2.5-0.5B", True),
        ("gpt2", True),
        ("models/tiny-countdown", False),  # of this repository, from wherever the command is given
        ("/home/me/models/mine", False),
        ("../mine", False),
        ("out/mine/hf/last", False),
    ],
)
def test_a_card_names_the_base_to_the_hub_only_where_it_is_there(
    model: str, named: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e, files = replace(experiment(folder), model=model), prepared(experiment(folder), ROOT)
    monkeypatch.chdir(tmp_path)
    card = model_card(e, RunDir(tmp_path), files, SUMMARY, {}, kind="last")
    assert card.data.base_model == (model if named else None)
    assert ("base_model:" in str(card)) == named


def test_the_command_of_a_card_is_the_one_without_where_it_wrote() -> None:
    given = {
        "algo": "uft",
        "lr": 1e-5,
        "out": "/home/me/x",
        "push_to_hub": "me/x",
        "resume": True,
        "logger": ("a", "b"),
    }
    assert command({**given, "overrides": ("a.b=1",)}) == ("python3 run.py --algo uft --lr 1e-05 --logger a,b -- a.b=1")
    elsewhere = {
        "model": "/home/me/models/mine",
        "data": "/home/me/q.jsonl:0.7,countdown:0.3",
        "reward": "~/rewards/mine.py:score",
    }
    named = "python3 run.py --model mine --data q.jsonl:0.7,countdown:0.3 --reward mine.py:score"
    assert command(elsewhere) == named
    within = {"model": "models/tiny-countdown", "data": "org/name:train,examples/custom/questions.jsonl"}
    assert command(within) == (
        "python3 run.py --model models/tiny-countdown --data org/name:train,examples/custom/questions.jsonl"
    )


def test_the_serving_line_is_right_for_the_machine(folder: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a run")
    on_cpu = serve_command(experiment(folder), run)
    assert on_cpu.startswith("VLLM_CPU_KVCACHE_SPACE=1 TORCHDYNAMO_DISABLE=1 ")
    assert f"vllm serve '{run.hf / 'last'}' --dtype float32 --enforce-eager" in on_cpu
    e: Experiment = build_experiment({"model": "Qwen/Qwen2.5-1.5B"}, PROFILES["1x80gb"])
    assert serve_command(e, run).endswith(f"vllm serve '{run.hf / 'last'}' --dtype bfloat16")
