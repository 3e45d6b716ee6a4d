"""The kit for a GPU machine without a network: what travels, the parts, the plan, and stages that run what they say."""

import ast
import hashlib
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from run import parser
from tests import ROOT
from tests.gpu.kit import plan
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
    subprocess.run(["bash", str(KIT / "join.sh"), str(parts), str(joined)], check=True, capture_output=True)
    found = {str(file.relative_to(joined)): file.read_bytes() for file in joined.rglob("*") if file.is_file()}
    assert found == {name: name.encode() * 1000 for name in ("vllm/__init__.py", "ray/core.so")}


def test_every_run_of_the_hour_has_flags_that_exist() -> None:
    runs = [
        shlex.split(command)[2:]
        for commands in stages("1x80gb").values()
        for command in commands
        if " run.py " in command
    ]
    assert len(runs) >= 6
    for words in runs:
        parser().parse_args(words[: words.index("--")])


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


def test_the_plan_runs_every_stage_but_cells_in_commands_of_ten_minutes() -> None:
    planned = [name for _, named in plan.STAGES for name in named.replace("+", " ").split()]
    assert sorted(planned) == sorted(name for name in stages("1x80gb") if not name.startswith("cell_"))
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
