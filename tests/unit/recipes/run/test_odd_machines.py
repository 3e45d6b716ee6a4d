"""Machines as people have them: another working folder, devices that are none, a long TMPDIR."""

import errno
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import run
from eval.models import find_model
from recipes.common.errors import ExperimentError
from recipes.common.machine import allow_open_files, cores, gpu_memory_gb, main_memory, visible_devices
from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.run import run_stage
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.environment import environment
from recipes.watch.processes import marked_environment
from recipes.watch.scratch import LONGEST_TMPDIR, caches, data_folder, short_folder
from tests import ROOT
from tests.helpers.front_checks import experiment, forked, front_door, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


@pytest.mark.parametrize("missing", ["numpy", "psutil", "yaml"])
def test_a_half_installed_environment_is_one_line(missing: str, tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {missing!r}:\n"
        f"            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "sys.argv[1:] = ['--dry_run']\n"
        f"runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert f"run.py: the package {missing} is missing in" in done.stderr
    assert "./install.sh" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_default_run_needs_no_working_folder(tmp_path: Path) -> None:
    flags = ("--algo", "uft", "--data", "countdown", "--out", "run", "--dry_run", "full")
    done = front_door("--profile", "cpu", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "models/tiny-countdown") in done.stdout
    assert find_model("models/tiny-countdown") == "models/tiny-countdown"  # from here


def test_a_folder_of_the_users_goes_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("models/tiny-countdown") == str(ROOT / "models/tiny-countdown")
    (tmp_path / "models/tiny-countdown").mkdir(parents=True)
    assert find_model("models/tiny-countdown") == "models/tiny-countdown"
    assert find_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("n_gpu", [1, 2])
def test_on_the_cpu_ray_is_given_names_of_devices_that_are_none(n_gpu: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray refuses to count more devices than CUDA_VISIBLE_DEVICES names; empty is the usual way to force the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    env = environment(build_experiment({"n_gpu": n_gpu}, PROFILES["cpu"]), RunDir(Path("run")))
    assert env["CUDA_VISIBLE_DEVICES"] == ",".join(["-1"] * n_gpu)
    assert "CUDA_VISIBLE_DEVICES" not in environment(
        build_experiment({"n_gpu": n_gpu}, PROFILES["h100x2"]), RunDir(Path("run"))
    )


@pytest.mark.parametrize(
    ("variable", "gpus", "found"),
    [
        ("0", 0, []),
        ("NoDevFiles", 0, []),
        ("", 2, []),
        ("-1", 2, []),
        ("1", 2, ["1"]),
        ("0,1", 2, ["0", "1"]),
        ("GPU-0a1b,GPU-2c3d", 2, ["GPU-0a1b", "GPU-2c3d"]),
        ("GPU-2c,GPU-ffff", 2, ["GPU-2c"]),
        ("GPU-ffff", 2, []),
        ("MIG-7e", 2, ["MIG-7e"]),
        # CUDA itself shows nothing behind the first it does not know, and nothing at all of one named twice.
        ("0,-1,1", 2, ["0"]),
        ("0,0", 2, []),
        ("0,7", 2, ["0"]),
        (None, 2, ["0", "1"]),
    ],
)
def test_devices_are_those_that_cuda_shows(
    variable: str | None, gpus: int, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = "\\n".join(f"GPU {number}: H100 (UUID: GPU-{name})" for number, name in enumerate(["0a1b", "2c3d"][:gpus]))
    if gpus:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{listed}\\n'\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr("recipes.common.machine.DEVICES", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if variable is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_devices() == found


@pytest.fixture
def cards(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two A100: the variable that shows them, the memory that nvidia-smi says they have, and their parts (MIG)."""
    variable, memory, *parts = request.param
    divided = "".join(f"  MIG {size}     Device  0: (UUID: MIG-{name})\\n" for size, name in parts)
    listed = "".join(f"GPU {number}: A100 (UUID: GPU-{name})\\n" for number, name in enumerate(["0a1b", "2c3d"]))
    said = f"#!/bin/sh\n[ $1 = -L ] && printf '{listed}{divided}' || printf '%s\\n' {' '.join(map(repr, memory))}\n"
    (tmp_path / "nvidia-smi").write_text(said)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)


PARTS = (["81920", "40960"], ("1g.5gb", "7e01"), ("1c.3g.20gb+me", "7e02"))
"""Of the second."""


@pytest.mark.parametrize(
    ("cards", "found", "memory"),
    [
        # CUDA shows the first part alone, of whatever cards there are.
        ((None, *PARTS), ["MIG-7e01"], 5),
        (("0,1", *PARTS), ["1"], 5),
        (("GPU-2c", *PARTS), ["GPU-2c"], 5),
        (("0", *PARTS), ["0"], 85.9),
        (("MIG-7e02", *PARTS), ["MIG-7e02"], 20),
        (("MIG-7e02,MIG-ffff,MIG-7e01", *PARTS), ["MIG-7e02"], 20),
        # Two parts are one device to a process, and to NCCL one card.
        (("MIG-7e02,MIG-7e01", *PARTS), ["MIG-7e02"], 20),
        (("0,MIG-7e01", *PARTS), ["MIG-7e01"], 5),
    ],
    indirect=["cards"],
)
@pytest.mark.usefixtures("cards")
def test_of_a_card_that_is_divided_a_part_counts(found: list[str], memory: float) -> None:
    assert visible_devices() == found
    assert gpu_memory_gb() == pytest.approx(memory, rel=0.01)


@pytest.mark.parametrize(
    ("cards", "found"),
    [
        ((None, ["81920", "4096"]), 4.29),
        # A card for a screen, hidden; one that shares the host's memory.
        (("0", ["81920", "4096"]), 85.9),
        (("GPU-2c", ["4096", "81920"]), 85.9),
        ((None, ["81920", "[N/A]"]), 85.9),
        (("MIG-7e", ["81920", "40960"]), 42.9),
        ((None, ["[N/A]", "[N/A]"]), None),
    ],
    indirect=["cards"],
)
@pytest.mark.usefixtures("cards")
def test_the_memory_is_that_of_the_cards_that_cuda_shows(found: float | None) -> None:
    there = gpu_memory_gb()
    assert there is None if found is None else there == pytest.approx(found, rel=0.01)


def quota(group: str, quota: int, period: int) -> dict[str, str]:
    """Of processors, in control groups of the first version."""
    return {f"{group}/cpu.cfs_quota_us": f"{quota}\n", f"{group}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("groups", "files", "memory", "processors"),
    [
        ("", {}, 64, 64),
        # A container sees its own limits alone, at the top; a job under Slurm has them below.
        ("0::/\n", {"memory.max": f"{8 << 30}\n", "cpu.max": "400000 100000\n"}, 8, 4),
        ("0::/job_7/step_0\n", {"job_7/memory.max": f"{8 << 30}\n", "job_7/step_0/memory.max": "max\n"}, 8, 64),
        ("5:memory:/job_7\n1:name=systemd:/\n", {"memory/job_7/memory.limit_in_bytes": f"{8 << 30}\n"}, 8, 64),
        ("0::/a\n", {"cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"}, 64, 1),
        ("no colons\n0::/\n", {"cpu.max": "400000 0\n"}, 64, 64),
        ("4:cpu,cpuacct:/job_7\n", quota("cpu,cpuacct/job_7", 400000, 100000), 64, 4),
        ("4:cpu:/job_7\n", quota("cpu", 300000, 100000) | quota("cpu/job_7", -1, 100000), 64, 3),
        ("4:cpu:/\n", quota("cpu", 300000, 0), 64, 64),
        ("0::/a\n", {"unified/a/cpu.max": "200000 100000\n", "unified/memory.max": f"{8 << 30}\n"}, 8, 2),
    ],
)
def test_a_process_has_what_its_control_groups_leave_it(
    groups: str, files: dict[str, str], memory: int, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = {"/proc/meminfo": f"MemTotal: {64 << 20} kB\n", "/proc/self/cgroup": groups}
    machine |= {f"/sys/fs/cgroup/{name}": text for name, text in files.items()}
    monkeypatch.setattr("recipes.common.machine._read", lambda path: machine.get(str(path), ""))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert (main_memory(), cores()) == (memory << 30, processors)


def test_a_driver_without_its_tools_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr("recipes.common.machine.DEVICES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_devices() == ["1"]


@pytest.mark.parametrize("length", [20, 30, 31, 62, 200])
def test_the_folder_of_rays_sockets_is_short_whatever_tmpdir_is(
    length: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = "/tmp/" + "x" * (length - 5)
    monkeypatch.setattr(tempfile, "tempdir", named)
    os.makedirs(named, exist_ok=True)
    try:
        with short_folder() as made:
            assert len(f"{made}/session_2026-11-25_23-13-41_927630_4194304/sockets/plasma_store") <= 107
            assert (made.parent == Path(named)) == (length <= LONGEST_TMPDIR)
            assert made.stat().st_mode & 0o777 == 0o700
        assert not made.exists()
    finally:
        os.rmdir(named)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_cannot_be_written_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: Any) -> int:
        raise OSError(number, os.strerror(number), "/here/experiment.yaml")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("run._main", fails)
        assert run.main([]) == 2
    said = capsys.readouterr().err
    assert said == f"run.py: /here/experiment.yaml: {os.strerror(number)}\n"


def test_a_command_without_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: Any) -> int:
        raise MemoryError("malloc of size 320 failed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("run._main", fails)
        assert run.main([]) == 2
    assert capsys.readouterr().err.startswith("run.py: out of memory")


@pytest.mark.parametrize(("hard", "found"), [(512, 512), (4096, 4096)])
def test_a_command_may_open_as_many_files_as_the_system_allows(hard: int, found: int) -> None:
    def start() -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        allow_open_files()
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))
        return 0

    assert forked(start).stdout == f"{found} {hard}\n"


def test_where_home_cannot_be_written_libraries_write_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches(tmp_path / "scratch") == {}
    assert list(tmp_path.iterdir()) == []
    # Nobody can, root neither.
    monkeypatch.setenv("HOME", "/proc/self")
    found = caches(tmp_path / "scratch")
    assert found["HF_HUB_CACHE"] == "/proc/self/.cache/huggingface/hub"
    assert found["HF_TOKEN_PATH"] == "/proc/self/.cache/huggingface/token"
    written = {"XDG_CACHE_HOME", "TRITON_HOME", "FLASHINFER_WORKSPACE_BASE"}
    assert all(Path(found[name]).is_relative_to(tmp_path / "scratch") for name in written)
    assert found.keys() == written | {"HF_HUB_CACHE", "HF_TOKEN_PATH"}
    monkeypatch.setenv("HF_HUB_CACHE", "/models")
    assert caches(tmp_path)["HF_HUB_CACHE"] == "/models"


def test_no_short_folder_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ExperimentError, match="set TMPDIR to one"), short_folder():
        pass


def test_the_next_command_removes_what_a_killed_one_left_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = tmp_path / "run"

    def killed(note: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shutil.rmtree", lambda *_, **__: None)
            with data_folder() as left:
                (left / ".owner").write_text(note)
                (left / "session").mkdir()
        return left

    of_a_command, of_a_dead_run, of_a_living_run = killed("-"), killed(str(tmp_path / "dead")), killed(str(run))
    foreign = tmp_path / "uft-somebody"
    foreign.mkdir()
    alive = subprocess.Popen(["sleep", "60"], env={**os.environ, **marked_environment(run)})
    try:
        with data_folder() as own, data_folder():
            assert not of_a_command.exists()
            assert not of_a_dead_run.exists()
            assert of_a_living_run.exists(), "its processes outlived their supervisor"
            assert own.exists()
            assert foreign.exists()
    finally:
        alive.kill()
        alive.wait()
    with data_folder():
        assert not of_a_living_run.exists()


def test_what_a_stage_leaves_in_the_temporary_folder_goes_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And sockets have short names there, whatever TMPDIR is."""
    seen: dict[str, str] = {}

    def supervised(command: list[str], env: dict[str, str], run_dir: Path, **_: Any) -> None:
        seen.update(env)
        (Path(env["TMPDIR"]) / "ckpt_0a1b2c3d.lock").touch()

    monkeypatch.setattr(run_stage, "supervise", supervised)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert len(str(tmp_path)) > LONGEST_TMPDIR
    stage = run_stage.Stage("a stage", RunDir(tmp_path / "run"), [], 1, "", lambda _: None)
    run_stage.run_stage(experiment(folder), stage, 1)
    assert len(seen["TMPDIR"]) <= LONGEST_TMPDIR + 13
    assert not Path(seen["TMPDIR"]).exists()
    # What was compiled is kept.
    assert Path(seen["TORCHINDUCTOR_CACHE_DIR"]).parent == tmp_path
