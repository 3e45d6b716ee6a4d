"""--pipeline: which stages a line, a preset or a file means, with which data; and what is refused at once."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recipes.commands.pipeline import _on_this_machine, _plans, steps_of
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.run import place, refuse
from recipes.settings.presets import PIPELINES
from recipes.settings.profiles import PROFILES
from run import main, parser
from tests import ROOT


def flags(*given: str) -> dict[str, Any]:
    return vars(parser().parse_args(["--profile", "cpu", *given]))


def test_each_stage_takes_its_own_data() -> None:
    steps = steps_of("sft,dpo,grpo", flags("--data", "ultrachat,ultrafeedback,countdown"))
    assert [step.name for step in steps] == ["1-sft", "2-dpo", "3-grpo"]
    assert [step.flags["data"] for step in steps] == ["ultrachat", "ultrafeedback", "countdown"]


def test_one_set_of_answers_brings_the_problems_of_its_verifier_to_the_stage_that_needs_them() -> None:
    steps = steps_of("sft,una,una_online", flags("--data", "countdown_preference"))
    assert [step.flags["data"] for step in steps] == ["countdown_preference", "countdown_preference", "countdown"]


def test_the_framework_has_the_settings_its_readme_states() -> None:
    sft, dpo, grpo = (step.flags for step in steps_of("framework", flags()))
    assert (sft["lr"], sft["epochs"], sft["batch_size"], sft["save_freq"], sft["keep_checkpoints"]) == (
        2e-4,
        2,
        16,
        500,
        2,
    )
    assert (dpo["lr"], dpo["epochs"], dpo["beta"], dpo["load_in_4bit"]) == (5e-5, 3, 0.1, True)
    assert (dpo["max_length"], dpo["max_prompt_length"], dpo["test_freq"], dpo["save_freq"]) == (1024, 512, 100, 100)
    assert (grpo["lr"], grpo["n_rollout"], grpo["batch_size"], grpo["save_freq"]) == (1e-5, 8, 8, 200)
    assert all(each["lora_rank"] for each in (sft, dpo, grpo))


def test_the_frameworks_grpo_makes_one_pass() -> None:
    grpo = steps_of("framework", flags())[2].flags
    e = build_experiment({"model": "Qwen/Qwen2.5-1.5B", **grpo}, PROFILES["1x80gb"])
    assert e.T * e.batch_size == e.data_options["n_train"]


def test_four_bits_of_a_file_are_left_out_where_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    for profile, bits in (("cpu", {}), ("1x24gb", {"load_in_4bit": True})):
        given = vars(parser().parse_args(["--profile", profile]))
        dpo = _on_this_machine(steps_of("framework", given), given)[1].flags
        assert {name: value for name, value in dpo.items() if name.startswith("load_in")} == bits
    assert capsys.readouterr().out == "2-dpo: without load_in_4bit, which needs a GPU\n"


def test_flags_of_the_command_line_go_before_a_files() -> None:
    steps = steps_of("framework", flags("--lora_rank", "4", "--test_freq", "5"))
    assert not [step for step in steps if {"lora_rank", "test_freq"} & step.flags.keys()]
    assert steps[1].flags["max_prompt_length"] == 512


def test_four_bits_for_all_stages_are_for_those_that_can() -> None:
    sft, dpo, grpo = steps_of("framework", flags("--load_in_4bit"))
    assert grpo.flags["load_in_4bit"] is None
    assert "load_in_4bit" not in sft.flags | dpo.flags


@pytest.mark.parametrize("name", PIPELINES)
def test_every_preset_names_flags_and_values_that_run_py_knows(name: str) -> None:
    known = flags()
    for step in steps_of(name, flags()):
        assert set(step.flags) <= set(known), step


def test_a_file_is_a_pipeline(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("- algo: sft\n  data: countdown\n  flags: {sft_epochs: 1}\n- algo: rft\n  data: countdown\n")
    steps = steps_of(str(file), flags())
    assert [step.flags for step in steps] == [
        {"algo": "sft", "data": "countdown", "sft_epochs": 1},
        {"algo": "rft", "data": "countdown"},
    ]


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        ("framwork", (), "did you mean 'framework'"),
        ("sft,dpo", ("--lr", "1e-5"), "--lr with --pipeline"),
        ("sft,dpo,grpo", ("--data", "ultrachat,countdown"), "2 names for 3 stages"),
        ("sft,,grpo", (), "--pipeline sft,,grpo: a name is missing between commas"),
        ("sft,grpo", ("--data", "countdown,"), "--data countdown,: a name is missing between commas"),
        ("no/such.yaml", (), "No such file"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, given: tuple[str, ...], says: str) -> None:
    with pytest.raises(ExperimentError, match=says):
        steps_of(text, flags(*given))


def test_a_file_that_is_no_list_of_stages_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("- data: countdown\n")
    with pytest.raises(ExperimentError, match="stage 1: needs algo"):
        steps_of(str(file), flags())


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ("", "must be a list of stages"),
        ("3", "must be a list of stages"),
        ("[3]", "stage 1: needs algo"),
        ("[[algo]]", "stage 1: needs algo"),
        ("- algo: 3\n", "--algo 3: no such algorithm"),
        ("- algo:\n", "stage 1: algo: has no value; give one"),
        ("- algo: [sft]\n", "stage 1: algo: must be text"),
        ("- algo: ''\n", "stage 1: algo: an empty value"),
        ("- {algo: rft, data: [countdown]}\n", "stage 1: data: must be text"),
        ("- {algo: rft, data: {countdown: 1}}\n", "stage 1: data: must be text"),
        ("- {algo: rft, flags: 3}\n", "stage 1: flags must map names to values"),
        ("- {algo: rft, flags: {n_train: 0}}\n", "stage 1: n_train: 0 must be at least 1"),
        ("- {algo: rft, flags: {1: 2}}\n", "stage 1: 1: not a flag of stages"),
        ("- {algo: rft, 3: 4}\n", "stage 1: needs algo"),
        ("- {algo: rft, flags: {doubt_coef: 1}}\n", "stage 1: doubt_coef: not a flag of stages"),
        ("- {algo: rft, flags: {depth: 3}}\n", "--depth: has no effect on --data countdown"),
    ],
)
def test_stages_of_other_types_are_refused_in_one_line(
    tmp_path: Path, stages: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(stages)
    assert main(["--pipeline", str(file), "--profile", "cpu", "--dry_run"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert says in said[0]


OWN = "examples/own_algorithm.py"


@pytest.mark.parametrize("form", ["line", "file", "stage"])
def test_a_stage_may_be_an_own_algorithm_with_its_options(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "mine.yaml"
    of_stage = "{doubt_coef: 0.25}" if form == "stage" else "{}"
    file.write_text(f"- algo: sft\n- algo: {OWN}\n  flags: {of_stage}\n")
    words = ["--pipeline", f"sft,{OWN}" if form == "line" else str(file), "--profile", "cpu", "--dry_run"]
    assert main([*words, *([] if form == "stage" else ["--doubt_coef", "0.25"])]) == 0
    said = capsys.readouterr().out
    assert "--doubt_coef 0.25" in said
    assert "--- 2-own_algorithm, from" in said
    assert "sft+own_algorithm-" in said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{lr: fast}", "stage 1: lr: 'fast' is not a number"),
        ("{T: }", "stage 1: T: has no value; give one or remove the key"),
        ("{T: 1.5}", "stage 1: T: '1.5' is not a whole number"),
        ("{dtype: float16}", r"stage 1: dtype: invalid choice: 'float16' \(choose from"),
        ("{allow_overlap: perhaps}", "stage 1: allow_overlap: 'perhaps' is neither true nor false"),
        ("{n_rolout: 4}", "stage 1: n_rolout: not a flag of stages; did you mean 'n_rollout'"),
        ("{out: elsewhere}", "stage 1: out: not a flag of stages"),
        ("[lr]", "stage 1: flags must map names to values"),
    ],
)
def test_a_stages_values_are_checked_like_flags(tmp_path: Path, given: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"- algo: rft\n  flags: {given}\n")
    with pytest.raises(ExperimentError, match=says):
        steps_of(str(file), flags())


def test_a_stages_values_are_read_like_flags(tmp_path: Path) -> None:
    """YAML takes 1e-4 for a text."""
    file = tmp_path / "mine.yaml"
    file.write_text("- algo: rft\n  flags: {lr: 1e-4, n-rollouts: 8, logger: [console], allow_overlap: true}\n")
    (step,) = steps_of(str(file), flags())
    assert step.flags == {
        "algo": "rft",
        "data": None,
        "lr": 1e-4,
        "n_rollout": 8,
        "logger": ("console",),
        "allow_overlap": True,
    }


def test_a_stage_goes_on_in_the_style_its_model_was_trained_in() -> None:
    """As the same commands would, given one after another."""
    stages = [flags("--algo", algo, "--data", data) for algo, data in (("sft", "ultrachat"), ("rft", "countdown"))]
    assert [plan.prompt_style for _, plan in _plans(stages)] == ["chat", "chat"]
    stages[1]["prompt_style"] = "completion"
    assert [plan.prompt_style for _, plan in _plans(stages)] == ["chat", "completion"]
    assert _plans(stages[1:])[0][1].prompt_style == "completion"


def test_a_dry_run_says_once_what_all_stages_take_of_the_disk_also_where_devices_are_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(place.shutil, "disk_usage", lambda _: SimpleNamespace(free=int(60e9)))
    monkeypatch.setattr(refuse, "gpu_count", lambda: 0)
    words = ["--pipeline", "sft,dpo,grpo", "--data", "countdown_preference", "--profile", "1x80gb"]
    assert main([*words, "--out", str(tmp_path / "all"), "--dry_run"]) == 0
    said = capsys.readouterr().out
    each = [int(size) for size in re.findall(r"up to (\d+) GB in the run's folder", said)]
    assert (each, said.count("--- all 3 stages")) == ([59, 59, 80], 1)
    assert f"disk:          up to {sum(each)} GB in {tmp_path}/all" in said
    assert said.count("devices:       cannot start here") == 3
    # That of the third stage, and of all.
    assert said.count("disk:          cannot start here") == 2
    assert f"of all 3 stages take up to {sum(each)} GB" in said
