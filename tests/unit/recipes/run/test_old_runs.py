"""Folders that an older version wrote are gone on with, reported and named as before (tests/recorded/runs_6902879)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.models import Weights
from eval.reporting.read_runs import load
from recipes.commands.eval_parts import _stage, refuse_other
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, append_metrics
from recipes.common.training_record import read_record
from recipes.flags.resolve import build_experiment
from recipes.run.build_stages import _verification
from recipes.run.resume import as_begun, check_folder, older_folder
from recipes.run.stages import Sampling
from recipes.run.suites import Part
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.saved import SCHEMA, from_yaml, to_yaml
from recipes.settings.trackers import PROJECT
from run import main
from tests import ROOT
from tests.helpers.front_checks import experiment, small_folder

OLD = ROOT / "tests/recorded/runs_6902879"

# What commit 6902879 was given, on which profile, and the name it gave the folder.
RUNS: dict[str, tuple[dict[str, Any], str, str]] = {
    "uft": ({"algo": "uft", "data": "countdown"}, "cpu", "uft-countdown-tiny-countdown-893b1228"),
    "dpo": (
        {"algo": "dpo", "data": "helpsteer2", "lora_rank": 8, "lr": 1e-5},
        "1x80gb",
        "dpo-helpsteer2-Qwen2.5-1.5B-c6f52920",
    ),
    "sft_rft": (
        {"algo": "sft_rft", "data": "kk_logic", "T": 40, "overrides": ("trainer.balance_batch=False",)},
        "h100x2",
        "sft_rft-kk_logic-Qwen2.5-1.5B-45ad3d08",
    ),
    "una_online": ({"algo": "una_online"}, "cpu", "una_online-countdown-tiny-countdown-0460b355"),
}


def text_of(name: str) -> str:
    return (OLD / f"{name}.yaml").read_text(encoding="utf-8")


THEN = {"dual_clip": 3.0}
"""Settings that it did not know, where what it did is not today's default."""


def today(name: str, **changed: Any) -> Experiment:
    flags, profile, _ = RUNS[name]
    return build_experiment({**flags, **changed}, PROFILES[profile])


def now(name: str, **changed: Any) -> Experiment:
    return today(name, **{**THEN, **changed})


@pytest.mark.parametrize("name", RUNS)
def test_its_settings_are_those_the_same_flags_mean_today_and_so_is_its_name(name: str) -> None:
    saved = from_yaml(text_of(name))
    assert saved == now(name)
    assert saved.default_name == now(name).default_name == RUNS[name][2]


@pytest.mark.parametrize("name", RUNS)
def test_every_value_it_wrote_is_kept(name: str) -> None:
    written = yaml.safe_load(text_of(name))
    again = yaml.safe_load(to_yaml(from_yaml(text_of(name))))
    mine, theirs = again["alignment"], written["alignment"]
    added = {name: mine.pop(name) for name in mine.keys() - theirs.keys()}
    weights = {"desirable_weight": 1.0, "undesirable_weight": 1.0}
    optimiser = {"warmup_ratio": 0.1, "lr_schedule": "cosine", "weight_decay": 0.0, "max_grad_norm": 1.0}
    assert added == {**weights, **optimiser, "load_in_8bit": False, "max_prompt_length": None}
    assert {key: again[key] for key in written} == written
    later = {
        **THEN,
        "rollout_correction": "none",
        "rollout_correction_clip": 2.0,
        "clip_ratio_high": None,
        "overlong_buffer": 0,
        "overlong_penalty": 1.0,
        "dynamic_sampling": False,
        "dynamic_sampling_rounds": 3,
        "hints": "own",
        "demonstrations": 1.0,
        "demonstration_noise": 0.0,
        "demonstration_errors": "random",
        "val_samples": 0,
        "own_texts": 128,
        "val_data": None,
        "project": PROJECT,
        "run_name": None,
        "early_stopping": 0,
        "rollout_seeds": "auto",
        "hf_dtype": "float32",
    }
    assert {key: again[key] for key in again.keys() - written.keys()} == {"schema": SCHEMA, "options": {}, **later}


@pytest.fixture
def folder(tmp_path: Path) -> RunDir:
    (tmp_path / "experiment.yaml").write_text(text_of("uft"), encoding="utf-8")
    return RunDir(tmp_path)


def test_its_folder_is_gone_on_with(folder: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    check_folder(folder, today("uft"), resume=True)
    check_folder(folder, today("uft", T=40, T_hint=18, test_freq=5, logger=("console",)), resume=True)
    with pytest.raises(ExperimentError, match=r"was started with lr 0\.0005, now it is 0\.1"):
        check_folder(folder, today("uft", lr=0.1), resume=True)
    with pytest.raises(ExperimentError, match="add --resume"):
        check_folder(folder, now("uft"), resume=False)
    words = ["--algo", "uft", "--profile", "cpu", "--out", str(folder.path), "--resume", "--dry_run"]
    assert main(words) == 0
    assert main([*words, "--n_rollout", "8"]) == 2
    assert "was started with n_rollout 4, now it is 8" in capsys.readouterr().err


def test_it_goes_on_with_the_dual_clip_it_was_begun_with(folder: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    begun = as_begun(from_yaml(folder.experiment.read_text(encoding="utf-8")), today("uft"))
    assert (today("uft").dual_clip, begun.dual_clip, begun) == (None, 3.0, now("uft"))
    words = ["--algo", "uft", "--profile", "cpu", "--out", str(folder.path), "--resume", "--dry_run", "full"]
    assert main(words) == 0
    assert "clip_ratio_c: 3.0" in capsys.readouterr().out
    assert main([*words, "--dual_clip", "5"]) == 2
    assert "was started with dual_clip 3.0, now it is 5.0" in capsys.readouterr().err


def test_without_out_it_is_found_under_the_name_it_had(folder: RunDir) -> None:
    new = RunDir(folder.path.parent / today("uft").default_name)
    assert older_folder(new, today("uft")) == new, "there is none"
    then = RunDir(folder.path.parent / RUNS["uft"][2])
    folder.path.rename(then.path)
    assert older_folder(new, today("uft")) == then
    assert older_folder(new, today("uft", dual_clip=2.0)) == new
    assert older_folder(RunDir(new.path.with_name("mine")), today("uft")).path.name == "mine"


@pytest.mark.parametrize("name", ["dpo", "una_online"])
def test_a_later_setting_without_effect_changes_no_name(name: str) -> None:
    assert today(name).default_name == RUNS[name][2]


def test_its_folder_says_how_its_weights_were_trained(folder: RunDir) -> None:
    weights = folder.hf / "last"
    weights.mkdir(parents=True)
    found = read_record(weights)
    assert found is not None
    assert (found[0].algo, found[0].prompt_style, found[0].max_response_length) == ("uft", "completion", 64)


def test_a_report_sees_the_same_settings_in_an_old_run_and_a_new_one(folder: RunDir, tmp_path: Path) -> None:
    new = RunDir(tmp_path / "new")
    new.path.mkdir()
    new.experiment.write_text(to_yaml(now("uft")), encoding="utf-8")
    for run in (folder, new):
        append_metrics(run.metrics, 0, {"val/acc": 0.5})
    assert load(folder.path).settings == load(new.path).settings


@pytest.mark.parametrize(
    "line",
    [
        "1: 2",
        "on: 2",
        "T: !!int ''",
        "T: !!bool foo",
        "T: !!timestamp foo",
        "T: 2026-99-99",
        "alignment: {1: 2}",
        "T: " + "1:" * 300 + "1.5",
    ],
)
def test_a_file_with_other_keys_or_impossible_values_is_one_clear_line(line: str) -> None:
    with pytest.raises(ExperimentError, match=r"^experiment\.yaml is damaged"):
        from_yaml(f"{to_yaml(now('uft'))}{line}\n")


def test_a_file_of_a_newer_version_is_refused_by_name() -> None:
    text = to_yaml(now("uft")).replace(f"schema: {SCHEMA}", f"schema: {SCHEMA + 1}")
    with pytest.raises(ExperimentError, match="written by a newer version"):
        from_yaml(text)


def test_an_evaluation_goes_on_whose_folder_it_wrote(tmp_path: Path) -> None:
    e = experiment(small_folder(tmp_path / "countdown"))
    place, part = RunDir(tmp_path / "eval"), Part("countdown", e.data)
    place.path.mkdir()
    older = "".join(
        line
        for line in to_yaml(e).splitlines(keepends=True)
        if not line.startswith(("schema:", "options:", "dual_clip:"))
    )
    (place.path / "evaluation.yaml").write_text(older, encoding="utf-8")
    refuse_other(place, e, Sampling())
    _stage(e, place, part, Weights(e.model), Sampling())
    with pytest.raises(ExperimentError, match="contains an evaluation with other settings"):
        refuse_other(place, replace(e, seed=1), Sampling())


def test_the_verification_of_an_alignment_stage_keeps_to_its_memory() -> None:
    """Advice to lower --rollout_memory would otherwise change nothing there."""
    e = build_experiment({"algo": "dpo", "data": "countdown_preference", "rollout_memory": 0.05}, PROFILES["cpu"])
    verified = _verification(e)
    assert verified is not None
    assert verified.rollout_memory == 0.05
