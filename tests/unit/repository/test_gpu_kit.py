"""The kit for a GPU machine without a network: what travels, the parts, the plan, and stages that run what they say."""

import ast
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from bench.study.cells import REAL, flags_of
from recipes.doctor.machine import GIB, Machine
from run import parser
from tests import ROOT
from tests.gpu.kit import check, hour, pack, plan
from tests.gpu.kit.hour import TESTS, main, run_stage, stages
from tests.gpu.kit.pack import REQUIREMENTS, fetch, locked, pinned, pins, split, strip
from tests.gpu.kit.rehearse import summary, under_site
from tests.gpu.kit.site_imports import top_level

GPU = ROOT / "tests/gpu"
KIT = GPU / "kit"


def test_what_travels_is_pinned_and_leaves_the_machines_torch_alone() -> None:
    names = [pin.partition("==")[0] for pin in pins()]
    assert {"verl", "ray", "transformers", "xgrammar", "pytest"} <= set(names)
    assert not {"torch", "triton", "wandb"} & set(names)
    assert all("==" in pin for pin in pins())


def test_every_package_that_travels_has_its_hashes() -> None:
    wanted = [*pins(), pinned(REQUIREMENTS / "cuda.txt")["vllm"]]
    entries = locked(wanted).replace("\\\n", "").splitlines()
    assert len(entries) == len(wanted)
    assert all("--hash=sha256:" in entry for entry in entries)
    with pytest.raises(SystemExit, match=r"no hash of ray==0\.1"):
        locked(["ray==0.1"])


def test_a_file_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small.py", "")
        archive.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        archive.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("small-1.0.dist-info/RECORD", "")
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setattr("shutil.which", lambda _: None)
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    fetch(sys.executable, f"small==1.0 --hash=sha256:{right}\n", tmp_path / "right")
    assert (tmp_path / "right/small.py").exists()
    with pytest.raises(SystemExit, match="Got +" + right) as refused:
        fetch(sys.executable, f"small==1.0 --hash=sha256:{'0' * 64}\n", tmp_path / "wrong")
    assert str(refused.value).endswith("pack: a file is not the one that was locked; nothing was packed")
    assert not (tmp_path / "wrong").exists()


def test_parts_joined_are_the_site_without_what_is_not_needed(tmp_path: Path) -> None:
    site, parts, joined = tmp_path / "site", tmp_path / "parts", tmp_path / "joined"
    for name in ("vllm/__init__.py", "vllm/vllm-rs", "ray/jars/a.jar", "ray/__pycache__/x.pyc", "ray/core.so"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(name.encode() * 1000)
    strip(site)
    assert [part.name for part in split(site, parts, 54)] == ["part-00"]
    without_xz = tmp_path / "bin"
    without_xz.mkdir()
    for name in ("bash", "sha256sum", "cut", "mkdir", "cat", "du"):
        (without_xz / name).symlink_to(shutil.which(name) or name)
    (without_xz / "python3").symlink_to(sys.executable)
    for path in (os.environ["PATH"], str(without_xz)):
        assert join(parts, joined, PATH=path).returncode == 0
        found = {str(file.relative_to(joined)): file.read_bytes() for file in joined.rglob("*") if file.is_file()}
        assert found == {name: name.encode() * 1000 for name in ("vllm/__init__.py", "ray/core.so")}
        shutil.rmtree(joined)


def join(parts: Path, joined: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """join.sh with these variables."""
    command = ["bash", str(KIT / "join.sh"), str(parts), str(joined)]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


def test_a_part_that_is_missing_or_damaged_is_named_and_nothing_joined(tmp_path: Path) -> None:
    site, parts, joined = tmp_path / "site", tmp_path / "parts", tmp_path / "joined"
    site.mkdir()
    (site / "random").write_bytes(os.urandom(3 * 2**20))
    assert len(split(site, parts, 1)) == 4
    (parts / "part-07").write_bytes(b"of an earlier time")
    assert join(parts, joined).returncode == 0
    shutil.rmtree(joined)

    def refused() -> str:
        done = join(parts, joined)
        assert done.returncode == 1
        assert not joined.exists()
        (line,) = done.stderr.splitlines()
        return line

    whole = (parts / "part-01").read_bytes()
    (parts / "part-01").write_bytes(whole[:-1])
    assert f"{parts}/part-01 is damaged" in refused()
    (parts / "part-01").write_bytes(whole)
    (parts / "part-03").unlink()
    assert f"{parts}/part-03 is missing, one of 4 parts" in refused()
    manifest = (parts / "manifest").read_text().splitlines(keepends=True)
    (parts / "manifest").write_text("".join(manifest[:-1]))
    assert f"{parts}/manifest is damaged: it speaks of 4 parts and lists 3" in refused()
    (parts / "manifest").unlink()
    assert f"{parts}/manifest is missing" in refused()


@pytest.mark.parametrize("python", ["nonsense", "/bin/true", "/"])
def test_packing_for_a_python_that_is_none_ends_in_a_line(python: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^pack: --python {python}: no Python starts by that name; .*version$"):
        pack.main(["--python", python, "--out", str(tmp_path)])


def runs_of(profile: str) -> dict[str, list[str]]:
    """The flags of every stage's run, without verl's own."""
    found = {}
    for name, commands in stages(profile).items():
        for command in commands:
            if " run.py " in command:
                words = shlex.split(command)[2:]
                found[name] = words[: words.index("--")]
    return found


@pytest.mark.parametrize("base", [None, ROOT / "models/tiny-countdown"])
def test_every_run_of_the_hour_has_flags_that_apply_to_it(
    base: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KIT_BASE", raising=False)
    if base is not None:
        monkeypatch.setenv("KIT_BASE", str(base))
    runs = {name: words for name, words in runs_of("1x80gb").items() if base is None or name.startswith("cell_")}
    assert len(runs) >= (3 if base else 8)
    stand_ins = {"--model": str(hour.TINY), "--data": "countdown", "--out": str(tmp_path / "run")}
    for name, words in runs.items():
        given = vars(parser().parse_args(words))
        # What earlier stages make is not there yet.
        there = [
            word if Path(word).exists() or "/" not in word else stand_ins[words[at - 1]]
            for at, word in enumerate(words)
        ]
        command = [sys.executable, str(ROOT / "run.py"), *there]
        done = subprocess.run([*command, "--dry_run"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        if base is None and name.startswith("cell_"):
            study = flags_of(REAL[0], 0)
            wanted = dict(zip(study[::2], study[1::2], strict=True))
            assert (given["depth"], given["n_train"], given["T"]) == tuple(
                int(wanted[flag]) for flag in ("--depth", "--n_train", "--T")
            )
            assert given["model"] == wanted["--model"]
    if base is None:
        pair = [" ".join(runs[f"mismatch_{way}"]).replace(way, "") for way in ("none", "token")]
        assert pair[0] == pair[1]
        assert "--rollout_correction" in pair[0]


def test_what_the_stages_make_by_python_is_made_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour, "WORK", tmp_path / "work")
    made = {"data": "easy/train.parquet", "smoke": "tiny/config.json", "untied": "untied/model.safetensors"}
    for name, file in made.items():
        for _ in range(2 if name == "untied" else 1):
            done = run_stage(name, stages("cpu")[name][:1], tmp_path, 120)
            assert done["exit_code"] == 0, (tmp_path / f"{name}.log").read_text()
            assert (tmp_path / "work" / file).is_file()


def test_a_stage_named_again_starts_in_no_folder_of_its_own_and_replaces_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hour, "WORK", tmp_path / "work")
    code = f"import pathlib; pathlib.Path('{tmp_path}/work/one').mkdir(parents=True)"
    stage_code = {"one": [f"python -c {shlex.quote(code)}"], "two": ["python -c 'raise SystemExit(3)'"]}
    monkeypatch.setattr(hour, "stages", lambda _: stage_code)
    out = tmp_path / "out"
    assert [main(["--out", str(out), *names]) for names in (["one"], ["two"], ["one"])] == [0, 1, 0]
    told = [(stage["stage"], stage["exit_code"]) for stage in json.loads((out / "summary.json").read_text())]
    assert told == [("two", 3), ("one", 0)]


def test_a_machine_without_what_a_run_needs_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA H100, 81559 MiB, 580.65.06, 9.0\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(check.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(check.shutil, "which", lambda name: f"/usr/bin/{name}")
    for name in ("product", "compiled", "imports"):
        monkeypatch.setattr(check, name, lambda: "well", raising=True)
        getattr(check, name).__name__ = name
    good = Machine(7, 64 * GIB, (), 100 * GIB, 8 * GIB, "x86_64", frozenset())
    monkeypatch.setattr(check, "look", lambda _: good)
    assert check.main() == 0
    for machine, missing in ((replace(good, cores=6), "7 cores"), (replace(good, shm=4 * GIB), "8 GiB of /dev/shm")):
        monkeypatch.setattr(check, "look", lambda _, machine=machine: machine)
        capsys.readouterr()
        assert check.main() == 1
        assert f"a run needs {missing}" in capsys.readouterr().out
    monkeypatch.setattr(check, "look", lambda _: good)
    (tmp_path / "Python.h").unlink()
    assert check.main() == 1
    assert "Python.h (apt install python3." in capsys.readouterr().out


def test_a_stage_reports_its_exit_code_and_stops_at_its_first_failure(tmp_path: Path) -> None:
    done = run_stage("bad", ["python -c 'raise SystemExit(3)'", "python -c 'print(5)'"], tmp_path, 60)
    assert done["exit_code"] == 3
    assert "print(5)" not in (tmp_path / "bad.log").read_text()


def test_a_stage_is_ended_with_its_descendants_when_its_time_is_up(tmp_path: Path) -> None:
    import psutil

    child = "import subprocess,sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(987)'])"
    assert run_stage("long", [f"python -c {shlex.quote(child)}"], tmp_path, 2)["exit_code"] == 124
    mine = [p.cmdline() for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    assert not any("time.sleep(987)" in " ".join(line) for line in mine)


def test_an_unknown_stage_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "smoke+nonsense"])
    assert "nonsense: unknown. Known: check" in capsys.readouterr().err


def test_each_test_on_a_gpu_runs_in_one_stage() -> None:
    defined = ast.parse((GPU / "test_training.py").read_text()).body
    names = [each.name for each in defined if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")]
    assert len(names) >= 9
    for name in names:
        assert sum(any(word in name for word in chosen.split(" or ")) for chosen in TESTS.values()) == 1, name


def test_the_plan_runs_every_stage_in_commands_of_ten_minutes_in_order_of_worth() -> None:
    planned = [name for _, named in plan.STAGES for name in named.replace("+", " ").split()]
    assert sorted(planned) == sorted(stages("1x80gb"))
    first = [name.partition("_")[0] for name in planned]
    worth = ("smoke", "tests", "bench", "cell", "mismatch")
    assert sorted(worth, key=first.index) == list(worth)
    assert all(0 < minutes < 10 for minutes, _ in plan.commands())
    for _, command in plan.commands():
        assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0


def test_what_a_site_can_import_is_told_by_its_files(tmp_path: Path) -> None:
    for name in ("one/__init__.py", "two.py", "_three.cpython-312-x86_64-linux-gnu.so", "four.abi3.so"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("one-1.0.dist-info", "five.libs", "bin", "no-name"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/x.py").touch()
    assert top_level(tmp_path) == ["_three", "bin", "four", "one", "two"]


def test_a_rehearsal_runs_with_the_site_first_and_tells_what_failed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("print('engine ok mine')")
    told = under_site(tmp_path, [sys.executable, "-m", "mine"])
    broken = under_site(tmp_path, [sys.executable, "-m", "not_there"])
    assert (told, broken) == (["engine ok mine"], ["not_there FAILED: exit code 1"])
    lines = summary("3.12.1", [54.0, 54.1], 1.0, [*told, *broken])
    assert "2 parts of at most 54.1 MiB, 108 MiB in all; engine ok mine" in lines[0]
    assert lines[2:] == ["* a part of 54.1 MiB, more than 54", "* not_there FAILED: exit code 1"]
