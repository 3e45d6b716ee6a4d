"""--config: flags from a file, under those of the command line; a run's own file repeats it with one thing changed."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.algorithms import algorithms
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir
from recipes.flags.config_file import GIVEN, read_flags, record
from recipes.run.resume import refuse_other_run
from run import main
from tests import ROOT
from tests.helpers.front_checks import experiment, small_folder
from tests.helpers.refusals import refusal


@pytest.fixture
def dry(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """(exit code, output, errors) of a dry run on the CPU profile."""

    def run(*arguments: str, sweep: bool = False) -> tuple[int, str, str]:
        # Not the default folder: whoever runs the tests may have a run there. (A sweep takes no --out.)
        out = [] if sweep else ["--out", str(tmp_path / "out")]
        code = main([*arguments, "--profile", "cpu", *out, "--dry_run"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def file(folder: Path, **flags: Any) -> str:
    path = folder / "flags.yaml"
    path.write_text(yaml.safe_dump(flags))
    return str(path)


def test_the_command_line_has_the_last_word(tmp_path: Path, dry: Any) -> None:
    given = file(tmp_path, algo="uft", T=12, T_hint=6, lr=1e-4, logger=["console", "file"])
    code, said, _ = dry("--config", given, "--T", "20")
    assert code == 0
    assert "20 steps" in said
    assert "T_hint 6" in said
    assert "lr 0.0001" in said


def test_under_another_algorithm_the_rest_of_the_file_counts(tmp_path: Path, dry: Any) -> None:
    given = file(tmp_path, algo="uft", T=12, T_hint=6, batch_size=16)
    code, said, _ = dry("--config", given, "--algo", "sft")
    assert code == 0
    assert "ignored from --config, no effect on sft: T, T_hint" in said
    assert "4096 rows / 16 per step" in said
    assert dry("--config", given, "--algo", "sft", "--T_hint", "3")[0] == 2, "typed, it is still refused"


def test_a_run_is_repeated_from_its_own_file(tmp_path: Path, dry: Any) -> None:
    """What was derived from model and machine is not repeated: another machine derives its own."""
    record(
        tmp_path,
        {"algo": "rft", "T": 7, "seed": 0, "out": "out/a", "resume": True, "lr": None, "overrides": ("a.b=1",)},
    )
    assert yaml.safe_load((tmp_path / GIVEN).read_text()) == {"T": 7, "algo": "rft", "overrides": ["a.b=1"], "seed": 0}
    (tmp_path / "experiment.yaml").write_text("lr: 99\n")
    record(tmp_path, {"algo": "rft", "T": 7, "seed": 0})
    code, said, _ = dry("--config", str(tmp_path / "experiment.yaml"), "--seed", "1")
    assert dry("--config", str(tmp_path), "--seed", "1")[:2] == (code, said)
    assert code == 0
    assert said.splitlines()[0].startswith("rft:") or "rft: RFT" in said
    assert "7 steps" in said
    assert "lr 0.0005" in said


def test_overrides_of_a_file_reach_verl(tmp_path: Path, dry: Any) -> None:
    code, _, error = dry("--config", file(tmp_path, algo="uft", overrides=["nonsense.key=1"]))
    assert code == 2
    assert "override 'nonsense.key'" in error


def test_an_override_of_a_file_gives_way_to_a_typed_one(tmp_path: Path, dry: Any) -> None:
    key = "actor_rollout_ref.actor.grad_clip"
    given = file(tmp_path, algo="uft", overrides=[f"{key}=0.5", "trainer.balance_batch=False"])
    code = main(
        ["--config", given, "--profile", "cpu", "--out", str(tmp_path / "out"), "--dry_run", "--", f"{key}=1.0"]
    )
    assert code == 0
    code, said, _ = dry("--config", given)
    assert f"{key}=0.5 trainer.balance_batch=False" in said


def test_what_is_changed_in_a_runs_record_does_not_count_in_silence(tmp_path: Path, dry: Any) -> None:
    record(tmp_path, {"algo": "rft", "T": 7})
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text("schema: 1\nlr: 0.009\n")
    code, _, error = dry("--config", str(experiment))
    assert code == 0
    assert f"reading this run's flags from {tmp_path / GIVEN}" in error
    copy = tmp_path / "copy.yaml"
    copy.write_text(experiment.read_text())
    code, _, error = dry("--config", str(copy))
    assert code == 2
    assert "is a run's record; give its folder or the given.yaml in it" in error
    experiment.write_text("lr: [[[")
    code, _, error = dry("--config", str(experiment))
    assert code == 2
    assert "is not valid YAML" in error


def test_options_of_an_own_algorithm_stand_in_a_file_too(tmp_path: Path, dry: Any) -> None:
    own = ROOT / "examples/own_algorithm.py"
    code, said, _ = dry("--config", file(tmp_path, algo=str(own), doubt_coef=0.25))
    assert code == 0
    assert "--doubt_coef 0.25" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alg: uft", "alg: no such flag; did you mean 'algo'?"),
        ("config: x", "config: only allowed on the command line"),
        ("- uft", "must map flags to values"),
        ("a: [", "is not valid YAML"),
        ("a: " + 2000 * "[", "is not valid YAML"),
        ("T: 2001-13-40", "T: '2001-13-40' is not a whole number"),
        ("", "must map flags to values"),
        ("T: many", "T: 'many' is not a whole number"),
        ("T: [1, 2]", "T: must be a number, not [1, 2]"),
        ("T: {a: 1}", "T: must be a number, not {'a': 1}"),
        ("T: 0", "T: 0 must be at least 1"),
        ("lr: .nan", "lr: nan must be a finite number"),
        (f"lr: {'9' * 400}", "lr: " + "9" * 400 + " has too many digits"),
        ("algo: 3", "--algo 3: no such algorithm"),
        ("algo: [uft, rft]", "algo: must be text"),
        ("algo: {uft: 1}", "algo: must be text"),
        ("data: [countdown]", "data: must be text"),
        ("data: true", "data: must be text (in quotes, if it looks like anything else), not True"),
        ("model: ''", "model: an empty value"),
        ('out: "a\\0b"', "out: 'a"),
        ("logger: [console, {a: b}]", "logger: must be a list, not ["),
        ("sweep: 3", "sweep: '3' is neither true nor false"),
        ("completion: true", "completion: only allowed on the command line"),
        ("T: 3\nT: 4", "T is given twice"),
        ("n-rollouts: 3\nn_rollout: 4", "n_rollout: same flag as n-rollouts, which is also given"),
        ("dry_run: long", "dry_run: invalid choice: 'long'"),
        ("lr:", "lr: has no value; give one or remove the key"),
        ("overrides:", "overrides: must be a list of strings"),
        ("overrides: 3", "overrides: must be a list of strings"),
        ("overrides: a.b=1", "overrides: must be a list of strings"),
        ("overrides: [{a.b: 1}]", "overrides: must be a list of strings"),
        ("overrides: {a.b: 1}", "overrides: must be a list of strings"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    begins = "run.py: --algo 3" if text == "algo: 3" else f"run.py: --config {path}: "
    assert message in refusal(capsys, "--config", str(path), "--dry_run", begins=begins)


def test_a_file_that_is_not_there_and_a_run_that_recorded_nothing(tmp_path: Path, dry: Any) -> None:
    assert "No such file" in dry("--config", str(tmp_path / "none.yaml"))[2]
    (tmp_path / "experiment.yaml").write_text("lr: 1\n")
    for place in (tmp_path / "experiment.yaml", tmp_path):
        assert "no run recorded its flags here" in dry("--config", str(place))[2]


def test_what_is_no_file_of_text_is_refused(tmp_path: Path, dry: Any) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("idx: Zürich".encode("latin-1"))
    for flag in ("--config", "--pipeline"):
        assert dry(flag, str(latin))[::2] == (2, f"run.py: {flag} {latin}: is not UTF-8 text\n")
        folder = tmp_path / f"{flag[2:]}.yaml"
        folder.mkdir()
        says = f"no run recorded its flags here ({GIVEN} is missing)" if flag == "--config" else "Is a directory"
        assert dry(flag, str(folder))[::2] == (2, f"run.py: {flag} {folder}: {says}\n")


def test_values_that_look_like_others_are_read_as_the_flag_reads_them(tmp_path: Path, dry: Any) -> None:
    given = file(tmp_path, sweep=True, seeds=[1, 2], idx=3, visible_devices=-1, dry_run=True, allow_overlap=False)
    code, said, _ = dry("--config", given, sweep=True)
    assert code == 0
    assert "uft-countdown-s2" in said
    assert "-3/uft-countdown-s1" in said


@pytest.mark.parametrize(
    ("given", "words", "left"),
    [
        ({"algo": "chord_mu"}, ("--algo", "uft"), ""),
        (
            {"algo": "rft", "data": "chain", "depth": 12, "states": 5},
            ("--data", "countdown"),
            "rft on countdown: states, depth",
        ),
        ({"algo": "rft", "data": "chain", "n_train": 999}, ("--data", "countdown"), ""),
        ({"algo": "rft", "data": "math", "data_path": "here"}, ("--data", "countdown"), "rft on countdown: data_path"),
        ({"algo": "sft", "sft_lr": 1e-4}, ("--lr", "3e-4"), "sft: sft_lr"),
        ({"algo": "sft", "lr": 1e-4}, ("--sft_lr", "3e-4"), "sft: lr"),
        ({"algo": "sft_rft", "lr": 1e-6, "sft_lr": 3e-4}, ("--algo", "sft"), "sft: lr"),
        ({"algo": "sft", "sft_epochs": 3}, ("--epochs", "2"), "sft: sft_epochs"),
        ({"algo": "examples/own_algorithm.py", "doubt_coef": 0.2}, ("--algo", "uft"), "uft: doubt_coef"),
        ({"algo": "examples/own_algorithm.py", "doubt_coef": 0.2}, ("--algo", "sft"), "sft: doubt_coef"),
    ],
)
def test_what_is_nothing_to_another_algorithm_or_task_is_left_out(
    given: dict[str, Any], words: tuple[str, ...], left: str, tmp_path: Path, dry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    code, said, why = dry("--config", file(tmp_path, **given), *words)
    assert code == 0, why
    assert ("ignored from --config, no effect on" in said) == bool(left)
    assert left in said
    if "3e-4" in words:
        assert "lr 0.0003" in said


def test_options_of_each_builtin_algorithm_are_left_out_under_another(tmp_path: Path, dry: Any) -> None:
    for name, algorithm in algorithms().items():
        options = {} if algorithm.options is None else asdict(algorithm.options())
        if options and algorithm.stages == ("rl",):
            code, said, why = dry("--config", file(tmp_path, algo=name, **options), "--algo", "rft")
            assert code == 0, why
            left = said.split("no effect on rft: ")[1].splitlines()[0]
            assert {*left.split(", ")} == options.keys()


def test_typed_options_of_another_algorithm_or_task_stay_refused(tmp_path: Path, dry: Any) -> None:
    code, _, why = dry("--config", file(tmp_path, algo="rft", data="chain"), "--data", "countdown", "--depth", "7")
    assert (code, "--depth: has no effect on --data countdown" in why) == (2, True)


def test_an_evaluation_leaves_out_what_its_data_have_no_use_for(tmp_path: Path, dry: Any) -> None:
    given = file(tmp_path, algo="examples/own_algorithm.py", doubt_coef=0.1, data="chain", depth=12, val_size=8)
    code, said, why = dry("--eval", "--config", given, "--data", "countdown")
    assert code == 0, why
    assert "no effect on --eval: algo, depth" in said.replace(", doubt_coef", "")


def test_a_runs_file_names_what_is_its_users_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = {
        "algo": "examples/own_algorithm.py",
        "data": "examples/custom/questions.jsonl",
        "reward": "examples/custom/reward.py:reward",
        "model": "models/tiny-countdown",
        "T": 3,
    }
    record(tmp_path, given)
    assert yaml.safe_load((tmp_path / GIVEN).read_text()) == {
        name: f"{ROOT}/{value}" if isinstance(value, str) else value for name, value in given.items()
    }
    names = {"algo": "uft", "data": "countdown", "reward": "math", "model": "Qwen/Qwen2.5-0.5B"}
    (tmp_path / "countdown").mkdir()
    (tmp_path / "uft").mkdir()
    monkeypatch.chdir(tmp_path)
    record(tmp_path, names)
    assert yaml.safe_load((tmp_path / GIVEN).read_text()) == names


def test_a_run_goes_on_by_the_full_path_of_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    started = experiment(small_folder(Path("mine")))
    refuse_other_run(RunDir(tmp_path), started, replace(started, data=str(tmp_path / "mine")))
    with pytest.raises(ExperimentError, match="was started with data mine"):
        refuse_other_run(RunDir(tmp_path), started, replace(started, data=str(tmp_path)))


def test_overrides_that_another_algorithm_cannot_take_are_left_out(tmp_path: Path, dry: Any) -> None:
    own = ["actor_rollout_ref.rollout.max_num_batched_tokens=4096", "trainer.balance_batch=False"]
    given = file(tmp_path, algo="uft", overrides=own)
    code, said, _ = dry("--config", given, "--algo", "sft")
    assert code == 0
    assert f"ignored from --config, no effect on sft: {own[0]}\n" in said
    code, said, _ = dry("--config", given, "--algo", "dpo", "--data", "countdown_preference")
    assert code == 0
    assert f"no effect on dpo: {', '.join(own)}\n" in said
    code, said, _ = dry("--eval", "--config", given)
    assert code == 0, "an evaluation has no use for them"
    code, _, errors = dry("--config", given, "--algo", "sft", "--", own[0])
    assert (code, own[0] in errors or "rollout" in errors) == (2, True), "typed, it is still refused"
    code, _, errors = dry("--config", file(tmp_path, algo="uft", overrides=["nonsense.key=1"]))
    assert (code, "nonsense.key" in errors) == (2, True), "under its own algorithm too"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("T: 12:30", "T: '12:30' is not a whole number"),
        ("batch_size: 30\nmini_batch_size: 7", "flags.yaml gives batch_size, mini_batch_size)"),
        ("overrides: [nonsense.key=1]", "flags.yaml gives nonsense.key=1)"),
    ],
)
def test_what_a_file_gives_is_looked_for_there(line: str, said: str, tmp_path: Path, dry: Any) -> None:
    (tmp_path / "flags.yaml").write_text(line)
    code, _, errors = dry("--config", str(tmp_path / "flags.yaml"))
    assert (code, said in errors) == (2, True), errors
    assert dry("--batch_size", "30", "--mini_batch_size", "7")[2].endswith("--mini_batch_size 6.\n"), "typed"


def test_numbers_of_a_file_are_read_as_people_write_them(tmp_path: Path, dry: Any) -> None:
    (tmp_path / "flags.yaml").write_text("T: 010\nlr: 1e-6\nkl_coef: .01\nrun_name: 2026-11-27\nlogger: [trackio]\n")
    values = read_flags(str(tmp_path / "flags.yaml"))
    assert (values["lr"], values["kl_coef"], values["run_name"]) == (1e-6, 0.01, "2026-11-27")
    (tmp_path / "flags.yaml").write_text("T: 010\nlr: 1e-6\n")
    code, said, errors = dry("--config", str(tmp_path / "flags.yaml"))
    assert (code, "10 steps" in said, "lr 1e-06" in said) == (0, True, True), errors
