"""What a process may use of its machine: the cards that CUDA shows, and what control groups leave it."""

import os
import resource
from pathlib import Path

import pytest

from recipes.common.machine import allow_open_files, cores, gpu_memory_gb, main_memory, visible_devices
from tests.helpers.front_checks import forked


def shown_by(folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, says: str | None) -> None:
    """CUDA_VISIBLE_DEVICES, if any, and an nvidia-smi, if any, that says this."""
    if says:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{says}\n")
        (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)


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
    monkeypatch.setattr("recipes.common.machine.DEVICES", tmp_path)
    shown_by(tmp_path, monkeypatch, variable, f"printf '{listed}\\n'" if gpus else None)
    assert visible_devices() == found


@pytest.fixture
def cards(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two A100: the variable that shows them, the memory that nvidia-smi says they have, and their parts (MIG)."""
    variable, memory, *parts = request.param
    divided = "".join(f"  MIG {size}     Device  0: (UUID: MIG-{name})\\n" for size, name in parts)
    listed = "".join(f"GPU {number}: A100 (UUID: GPU-{name})\\n" for number, name in enumerate(["0a1b", "2c3d"]))
    says = f"[ $1 = -L ] && printf '{listed}{divided}' || printf '%s\\n' {' '.join(map(repr, memory))}"
    shown_by(tmp_path, monkeypatch, variable, says)


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


@pytest.mark.parametrize(("hard", "found"), [(512, 512), (4096, 4096)])
def test_a_command_may_open_as_many_files_as_the_system_allows(hard: int, found: int) -> None:
    def start() -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        allow_open_files()
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))
        return 0

    assert forked(start).stdout == f"{found} {hard}\n"
