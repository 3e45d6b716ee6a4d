"""The kit for a GPU machine without a network: what travels, the parts, and stages that run what they name."""

import shlex
import subprocess
from pathlib import Path

import pytest

from run import parser
from tests import ROOT
from tests.gpu.kit.hour import main, run_stage, stages
from tests.gpu.kit.pack import pins, split, strip

KIT = ROOT / "tests/gpu/kit"


def test_what_travels_is_pinned_and_leaves_the_machines_torch_alone() -> None:
    names = [pin.partition("==")[0] for pin in pins()]
    assert {"verl", "ray", "transformers", "xgrammar", "pytest"} <= set(names)
    assert not {"torch", "triton", "wandb"} & set(names)
    assert all("==" in pin for pin in pins())


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
