"""Which runs a sweep means, and how devices are shared out."""

from pathlib import Path
from typing import Any

import pytest

import run
from recipes.commands.sweep import device_shares, planned_sweep, sweep
from recipes.commands.train import plan_training
from recipes.common.errors import ExperimentError
from recipes.flags.effect import refuse_without_effect
from recipes.flags.parser import arguments
from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from tests import ROOT
from tests.helpers.refusals import refusal
from tests.helpers.sweep_checks import flags, names


def test_every_combination_is_a_run_and_the_first_seed_comes_first() -> None:
    assert names("--algo", "sft,uft", "--data", "countdown,kk_logic", "--seeds", "3,5") == [
        f"{algo}-{task}-s{seed}" for seed in (3, 5) for task in ("countdown", "kk_logic") for algo in ("sft", "uft")
    ]


def test_one_seed_and_the_defaults_are_those_of_a_single_run() -> None:
    assert names() == ["uft-countdown-s0"]
    assert names("--seed", "4") == ["uft-countdown-s4"]


def test_a_runs_command_means_the_planned_experiment(tmp_path: Path) -> None:
    given = ("--algo", "stage,sft_rft", "--seeds", "1", "--T", "7", "--T_hint", "3", "--lr", "2e-5", "--val_size", "-1")
    given += (
        "--logger",
        "console,file",
        "--allow_overlap",
        "--out",
        str(tmp_path),
        "--",
        "trainer.balance_batch=False",
    )
    _, plan = planned_sweep(flags(*given))
    for planned in plan:
        own, overrides = run._split(planned.arguments(resume=True))
        again = vars(run.parser().parse_args(own)) | {"overrides": tuple(overrides)}
        assert not again.pop("sweep")
        for name in ("visible_devices", "eval", "reproduce"):
            again.pop(name)
        steering, experiment = plan_training(again)
        assert experiment == planned.experiment
        assert steering.folder("") == planned.folder == tmp_path / planned.name
        assert steering.resume
    assert plan[0].experiment.overrides == ("trainer.balance_batch=False",)
    assert "--resume" not in plan[0].arguments()


def test_flags_become_words() -> None:
    given = {"T": 3, "resume": True, "dry_run": False, "model": None, "logger": ("a", "b"), "overrides": ("x=1",)}
    assert arguments(given) == ["--T", "3", "--resume", "--logger", "a,b", "--", "x=1"]


def test_a_sweep_grows_in_its_folder_and_another_setting_gets_another() -> None:
    first = planned_sweep(flags("--algo", "sft", "--seeds", "0"))[0]
    assert planned_sweep(flags("--algo", "sft,uft", "--seeds", "0,1", "--parallel", "2"))[0] == first
    assert planned_sweep(flags("--algo", "sft", "--seeds", "0", "--lr", "1e-4"))[0] != first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--algo", "sft,utf"), "--algo utf: no such algorithm; did you mean 'uft'"),
        (("--data", "countdown,countdwn"), "--data countdwn: not a task, file or folder"),
        (("--data", "countdown,others"), "only for evaluation"),
        (("--algo", "sft,,uft"), "a name is missing"),
        (("--algo", "sft,uft,sft"), "sft is given twice"),
        (("--algo", "rft,grpo"), "rft-countdown-s0 is requested twice"),
        (("--seeds", "0", "--seed", "1"), "--seed and --seeds"),
        (("--parallel", "0"), "--parallel 0: must be at least 1"),
        (("--n_samples", "4"), "--n_samples belongs to --eval"),
        (("--T", "5", "--T_hint", "9"), "--T_hint 9 is past --T 5"),
    ],
)
def test_mistakes_are_named_before_anything_starts(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=message):
        sweep(flags(*words, "--out", str(tmp_path / "sweep")))
    assert not (tmp_path / "sweep").exists()


def test_own_files_of_one_name_and_broken_ones_are_named(tmp_path: Path) -> None:
    example = ROOT / "examples/own_algorithm.py"
    copy, broken = tmp_path / "own_algorithm.py", tmp_path / "broken.py"
    copy.write_text(example.read_text())
    broken.write_text(example.read_text().replace("group.given.float()", "group.nothing"))
    with pytest.raises(ExperimentError, match="would use the folder fading-countdown-s0; give one another name="):
        sweep(flags("--algo", f"{example},{copy}", "--out", str(tmp_path / "sweep"), "--dry_run"))
    with pytest.raises(ExperimentError, match=r"broken\.py, line \d+: weigh: AttributeError"):
        sweep(flags("--algo", f"rft,{broken}", "--out", str(tmp_path / "sweep"), "--dry_run"))


@pytest.mark.parametrize(
    ("words", "wanting"),
    [
        (("--algo", "examples/own_algorithm.py,uft", "--doubt_coef", "0.25"), {"uft-countdown-s0"}),
        (("--data", "countdown,chain", "--depth", "6"), {"uft-countdown-s0"}),
        (("--data", "countdown,chain,kk_logic", "--people", "3"), {"uft-countdown-s0", "uft-chain-s0"}),
        (("--data", "countdown,chain", "--n_train", "1000"), set()),
    ],
)
def test_options_of_one_algorithm_or_task_go_to_its_runs(
    words: tuple[str, ...], wanting: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert run.main(["--sweep", "--profile", "cpu", *words, "--dry_run"]) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if "run.py" in line]
    without = {line.split("--out ")[1].split("/")[-1] for line in commands if words[2] not in line}
    assert len(commands) > len(wanting)
    assert without == wanting


def test_no_run_is_given_what_it_would_refuse() -> None:
    """T_hint of one algorithm's schedule, in a sweep over others too."""
    words = ("--algo", "rft,uft,sft,sft_rft,uft_adaptive", "--T", "9", "--T_hint", "3", "--n_rollout", "2")
    _, plan = planned_sweep(flags(*words))
    for each in plan:
        refuse_without_effect(each.flags, [each.experiment])
    assert [each.experiment.algo for each in plan if "T_hint" in each.flags] == ["uft"]
    assert [each.experiment.algo for each in plan if "n_rollout" not in each.flags] == ["sft"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--algo", "uft,rft", "--doubt_coef", "1"), "--doubt_coef: no such flag"),
        (("--data", "countdown,kk_logic", "--depth", "5"), "--depth: has no effect on --data countdown; it is an opt"),
    ],
)
def test_an_option_of_none_of_them_is_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, "--sweep", "--profile", "cpu", *words, "--dry_run")


def test_a_single_run_refuses_the_flags_of_a_sweep() -> None:
    with pytest.raises(ExperimentError, match="--parallel belongs to --sweep"):
        plan_training(flags("--parallel", "2"))


def experiment(profile: str, **given: Any) -> Experiment:
    return build_experiment(given, PROFILES[profile])


def test_devices_are_shared_out_without_overlap() -> None:
    two = [experiment("h100x2"), experiment("h100x2", algo="sft")]
    assert device_shares(two, list("01234567"), 4) == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]]
    assert device_shares(two, ["3", "5", "GPU-a", "GPU-b", "9"], 2) == [["3", "5"], ["GPU-a", "GPU-b"]]


def test_the_largest_run_decides_the_share() -> None:
    mixed = [experiment("h100x2"), experiment("h100x4")]
    assert device_shares(mixed, list("01234567"), 2) == [list("0123"), list("4567")]
    with pytest.raises(ExperimentError, match="3 runs of 4 device"):
        device_shares(mixed, list("01234567"), 3)


def test_too_few_devices_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(ExperimentError, match=r"3 runs of 2 device\(s\) need 6, but there are 4 \(0, 1, 2, 3\)"):
        device_shares([experiment("h100x2")], list("0123"), 3)


def test_one_at_a_time_and_runs_on_the_cpu_are_given_no_share() -> None:
    assert device_shares([experiment("h100x8")], [], 1) == [None]
    assert device_shares([experiment("cpu")], [], 3) == [None, None, None]


def test_runs_on_several_nodes_go_one_at_a_time() -> None:
    with pytest.raises(ExperimentError, match="one at a time"):
        device_shares([experiment("h100x8", nnodes=2)], list("01234567"), 2)


def test_a_run_records_no_profile_that_nobody_gave() -> None:
    """Its file would be wrong on another machine."""
    _, plan = planned_sweep(flags("--algo", "uft,rft") | {"profile": None})
    assert all("profile" not in each.flags for each in plan)
    _, plan = planned_sweep(flags("--algo", "uft,rft", "--profile", "cpu"))
    assert {each.flags["profile"] for each in plan} == {"cpu"}
