"""The doctor's table of versions, and what it says of a machine."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.doctor import gpu
from recipes.doctor import report as doctor
from recipes.doctor.imports import import_failures
from recipes.doctor.machine import GIB, Gpu, Machine, hindrances, look, parse_gpus
from recipes.doctor.report import Pin, Row, missing_needs, normalise, same_version, version_rows
from tests import ROOT

LISTS = ["requirements.txt", *(f"requirements/{name}.txt" for name in ("cpu", "cuda", "dev", "constraints-cuda"))]


def test_a_mismatch_and_a_gap_are_shown_with_its_fix() -> None:
    pins = [
        Pin("torch", "2.13.0", True),
        Pin("Ray_x", "2.60.0", True),
        Pin("idna", "3.20", False),
        Pin("tqdm", "1.0", False),
    ]
    rows = version_rows(pins, {"torch": "2.13.0+cpu", "idna": "3.20", "tqdm": "0.9"})
    text = doctor.table(rows)
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines["torch"].endswith("ok")
    assert lines["Ray_x"].split()[2:] == ["-", "fix:", "not", "installed"]
    assert lines["tqdm"].split()[1:] == ["1.0", "0.9", "fix:", "another", "version"]
    assert "idna" not in lines
    assert "and 1 packages" in text


def test_exit_code_follows_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Row("torch", "1", "1", ""), Row("ray", "2", "1", "another version")
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [good])
    assert doctor.main(["--profile", "cpu"]) == 0
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [good, bad])
    assert doctor.main(["--profile", "cpu"]) == 1
    assert "To fix ray: ./install.sh --profile cpu" in capsys.readouterr().out


def test_a_need_nobody_installed_is_a_row() -> None:
    pins = [Pin("pytest", "0", True)]
    all_but_pluggy = {"pytest": "0", "iniconfig": "0", "packaging": "0", "pygments": "0"}
    assert [row.package for row in missing_needs(pins, all_but_pluggy, frozenset())] == ["pluggy"]
    assert missing_needs(pins, all_but_pluggy, frozenset({"pluggy"})) == []


def test_imports_name_the_module_that_fails_or_kills_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raises_here.py").write_text("raise ValueError('no\\nluck')\n")
    (tmp_path / "dies_here.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failures = import_failures(["json", "raises_here", "dies_here", "csv", "not_there_at_all"])
    assert set(failures) == {"raises_here", "dies_here", "not_there_at_all"}
    assert failures["raises_here"] == "ValueError: no luck"
    assert "signal 4 (an instruction this CPU lacks)" in failures["dies_here"]


@given(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}(\.post[0-9])?", fullmatch=True), st.sampled_from(["cpu", "cu130"]))
def test_local_parts_count_only_where_pinned(version: str, local: str) -> None:
    assert same_version(version, version)
    assert same_version(version, f"{version}+{local}")
    assert not same_version(f"{version}+{local}", version)
    assert not same_version(version, f"{version}1+{local}")


@given(st.lists(st.tuples(st.text("abcAB019", min_size=1, max_size=4), st.sampled_from("-_.")), min_size=1, max_size=4))
def test_names_compare_as_indexes_do(parts: list[tuple[str, str]]) -> None:
    name = "".join(part + sign for part, sign in parts) + "z"
    assert normalise(name) == normalise(name.replace("_", "-").replace(".", "-").upper())


def test_gpus_are_read_from_nvidia_smi() -> None:
    csv = "NVIDIA H100 80GB HBM3, 81559, 580.65.06\nNVIDIA GB10, [N/A], 580.1\n\n"
    assert parse_gpus(csv) == (
        Gpu("NVIDIA H100 80GB HBM3", 81559 * 2**20, "580.65.06"),
        Gpu("NVIDIA GB10", None, "580.1"),
    )


@pytest.mark.parametrize(
    ("variable", "shown", "hidden", "said"),
    [
        (None, 2, (), "H100 (79.6 GiB), T400 (4.0 GiB)\n"),
        ("0", 1, ("1 (T400)",), "H100 (79.6 GiB); hidden (CUDA_VISIBLE_DEVICES, MIG): 1 (T400)\n"),
        ("GPU-2c", 1, ("0 (H100)",), "T400 (4.0 GiB); hidden (CUDA_VISIBLE_DEVICES, MIG): 0 (H100)\n"),
        ("", 0, ("0 (H100)", "1 (T400)"), "CUDA_VISIBLE_DEVICES hides every GPU"),
    ],
)
def test_gpus_that_are_hidden_are_named_and_not_counted(
    variable: str | None,
    shown: int,
    hidden: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = "GPU 0: H100 (UUID: GPU-0a1b)\\nGPU 1: T400 (UUID: GPU-2c3d)\\n"
    queried = "H100, 81559, 580.1\\nT400, 4096, 580.1\\n"
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n[ $1 = -L ] && printf '{listed}' || printf '{queried}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    machine = look(ROOT)
    assert (len(machine.gpus), machine.hidden) == (shown, hidden)
    assert said in doctor.describe(machine, "cuda")
    found = gpu.needs(machine, trial=False)[-1].found
    assert found == ("580.1" if shown else "cannot be checked here: CUDA_VISIBLE_DEVICES hides all")


@pytest.mark.parametrize("query", ["exit 15", "echo broken"])
def test_gpus_of_an_nvidia_smi_that_only_lists_them_are_counted(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """run.py goes by the list, so that the table must not say there are none."""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n[ $1 = -L ] && echo 'GPU 0: H100 (UUID: GPU-0a1b)' || {query}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert look(ROOT).gpus == (Gpu("NVIDIA GPU", None, ""),)


def test_hindrances_of_a_poor_machine_and_none_of_a_good_one() -> None:
    flags = frozenset({"avx", "avx2"})
    good = Machine(8, 64 * GIB, (), 100 * GIB, 8 * GIB, "x86_64", flags)
    assert hindrances(good, "cpu") == []
    poor = Machine(1, 4 * GIB, (), 2 * GIB, GIB // 16, "x86_64", frozenset({"avx"}))
    text = " ".join(hindrances(poor, "cpu"))
    for word in ("AVX2", "4.0 GiB of memory", "--shm-size", "free disk"):
        assert word in text
    assert "--profile cuda" in " ".join(hindrances(with_driver("580.65.06"), "cpu"))
    assert "lists no GPU" in " ".join(hindrances(good, "cuda"))


def test_a_gpu_needs_more_shared_memory_and_a_linux_with_cuda_ipc() -> None:
    machine = with_driver("580.65.06")
    assert hindrances(machine, "cuda") == []
    (small,) = hindrances(replace(machine, shm=4 * GIB), "cuda")
    assert "give it 8 GiB or more" in small
    assert hindrances(replace(machine, gpus=(), shm=1 * GIB), "cpu") == []
    (windows,) = hindrances(replace(machine, wsl=True), "cuda")
    assert windows.startswith("this is WSL2, which has no CUDA IPC")
    assert hindrances(replace(machine, gpus=(), wsl=True), "cpu") == []


def with_driver(*versions: str) -> Machine:
    gpus = tuple(Gpu("NVIDIA H100", 80 * GIB, version) for version in versions)
    return Machine(8, 64 * GIB, gpus, 100 * GIB, 8 * GIB, "x86_64", frozenset({"avx2"}))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A machine with compiler and headers, and how often a card was tried there."""
    (tmp_path / "Python.h").touch()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(gpu.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(gpu.shutil, "which", lambda name: f"/usr/bin/{name}")
    tried: list[int] = []
    monkeypatch.setattr(gpu, "_trial", lambda: tried.append(1) or gpu.Need("GPU", "computes", "capability 9.0"))
    return tried


def test_a_machine_with_a_card_is_tried_on_it(tried: list[int]) -> None:
    found = {need.name: need for need in gpu.needs(with_driver("580.65.06"))}
    assert list(found) == ["C compiler", "Python.h", "NVIDIA driver", "GPU"]
    assert not any(need.trouble for need in found.values())
    assert tried == [1]


def test_an_old_driver_is_trouble_where_the_cards_do_not_compute(
    tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With cuda-compat they do."""
    machine = with_driver("580.65.06", "550.54.14")
    assert [need.trouble for need in gpu.needs(machine)] == [""] * 5
    assert tried == [1]
    unknown = {need.found: need.trouble for need in gpu.needs(machine, trial=False)}
    monkeypatch.setattr(gpu, "_trial", lambda: gpu.Need("GPU", "computes", "-", "the driver is too old"))
    for found in (unknown, {need.found: need.trouble for need in gpu.needs(machine)}):
        assert "install driver 580" in found["550.54.14"]
        assert found["580.65.06"] == ""


@pytest.mark.parametrize("machine", [with_driver("580.65.06"), with_driver()], ids=["with a GPU", "without"])
def test_a_compiler_and_headers_are_needed_wherever_the_stack_will_run(
    machine: Machine, tried: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Python.h").unlink()
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    found = {need.name: need.trouble for need in gpu.needs(machine)}
    assert "apt install build-essential python3." in found["C compiler"]
    assert "apt install build-essential python3." in found["Python.h"]
    assert not tried


@pytest.mark.parametrize(
    ("named", "there", "trouble"),
    [
        (None, ["gcc"], ""),
        (None, ["clang"], ""),
        # Triton knows no other by name.
        (None, ["cc"], "apt install build-essential"),
        ("cc", ["cc"], ""),
        ("/opt/gcc", ["gcc"], "CC is /opt/gcc, which does not exist"),
        ("", ["gcc"], "CC is '', and must be one program without arguments"),
        ("ccache gcc", ["ccache", "gcc"], "CC is 'ccache gcc', and must be one program without arguments"),
    ],
)
def test_the_compiler_is_the_one_that_triton_takes(
    named: str | None, there: list[str], trouble: str, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu.shutil, "which", lambda name: name if name in there else None)
    monkeypatch.delenv("CC", raising=False)
    if named is not None:
        monkeypatch.setenv("CC", named)
    found = {need.name: need.trouble for need in gpu.needs(with_driver())}["C compiler"]
    assert trouble in found
    assert bool(trouble) is bool(found)


def test_without_a_gpu_nothing_is_wrong_that_cannot_be_checked(tried: list[int]) -> None:
    """Images are built and login nodes installed without one."""
    *_, last = gpu.needs(with_driver())
    assert last == gpu.Need("GPU", "a driver's", "cannot be checked here: nvidia-smi lists none", "")
    assert not tried


def test_the_trial_tells_what_torch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu._trial().trouble == "torch sees no GPU (CUDA_VISIBLE_DEVICES?)"
    monkeypatch.setattr(gpu, "TRIAL", "print('noise'); print('works: capability 9.0')")
    assert gpu._trial() == gpu.Need("GPU", "computes", "capability 9.0")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(gpu, "TRIAL", "import os; print('works:', os.environ['CUDA_DEVICE_ORDER'])")
    assert gpu._trial().found == "PCI_BUS_ID"
    monkeypatch.setattr(gpu, "TRIAL", "raise RuntimeError('driver on your system\\nis too old')")
    assert gpu._trial().trouble.endswith("is too old")
    monkeypatch.setattr(gpu, "TRIAL", "raise RuntimeError('Error 802: system not yet initialized')")
    assert "systemctl status nvidia-fabricmanager" in gpu._trial().trouble


def test_what_only_the_machine_lacks_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """install.sh would otherwise fetch gigabytes again, and advise to delete the environment."""
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [Row("torch", "1", "1", "")])
    monkeypatch.setattr(doctor, "needs", lambda *_: [gpu.Need("NVIDIA driver", ">=580", "550", "install driver 580")])
    assert doctor.main(["--profile", "cuda"]) == 3
    assert "fix: install driver 580" in capsys.readouterr().out
    assert doctor.main(["--profile", "cpu"]) == 0


@pytest.mark.parametrize("no_gpu", [True, False])
def test_vllm_without_a_platform_is_sound_where_there_is_no_gpu(
    no_gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vllm/entrypoints/openai").mkdir(parents=True)
    for name in ("torch.py", "vllm/__init__.py", "vllm/entrypoints/openai/api_server.py"):
        (tmp_path / name).touch()
    (tmp_path / "vllm/platforms.py").write_text("class current_platform: device_type = ''\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = import_failures(["vllm"], no_gpu=no_gpu)
    assert found == ({} if no_gpu else {"vllm": "RuntimeError: vLLM found no platform for this machine"})


@pytest.mark.parametrize(
    ("there", "why"), [(True, "did not load"), (False, "link to libnuma.so.1: apt install libnuma1")]
)
def test_what_vllms_kernels_link_to_is_named_where_it_is_missing(
    there: bool, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vllm/entrypoints/openai").mkdir(parents=True)
    for name in ("vllm/__init__.py", "vllm/entrypoints/openai/api_server.py"):
        (tmp_path / name).touch()
    (tmp_path / "torch.py").write_text("class ops: _C = None\n")
    (tmp_path / "vllm/platforms.py").write_text(
        "class current_platform:\n    device_type = 'cpu'\n    import_kernels = staticmethod(lambda: None)\n"
    )
    answer = "return None" if there else "raise OSError(name)"
    (tmp_path / "ctypes.py").write_text(f"def CDLL(name):\n    {answer}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (told,) = import_failures(["vllm"]).values()
    assert told == f"RuntimeError: vLLM's CPU kernels {why}"


def test_this_machine_can_be_looked_at() -> None:
    machine = look(ROOT)
    assert machine.cores >= 1
    assert machine.ram is None or machine.ram > 0
    assert "cores" in doctor.describe(machine, "cpu")


@pytest.mark.contract
def test_the_installed_stack_is_the_pinned_one_and_its_list_is_closed() -> None:
    installed = doctor.installed_versions()
    if "verl" not in installed:
        pytest.skip("verl is not installed here")
    rows = doctor.check(doctor.installed_stack(installed), imports=False)
    assert [row for row in rows if row.trouble] == []
