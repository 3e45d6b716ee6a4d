"""Real runs on machines as people have them: each ends well, or says in its last words what is wrong with the machine.

What needs a limit, a mount or a control group of its own is skipped where the user may not make one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from recipes.verl_plugin.warm_client import SHARED
from recipes.watch.processes import processes_of
from tests.e2e.support import ROOT, metrics

pytestmark = [pytest.mark.e2e, pytest.mark.extended]

SHORT = ("--algo", "rft", "--batch_size", "8", "--n_rollout", "2", "--val_size", "8", "--test_freq", "1")
MEMORY = Path("/sys/fs/cgroup/memory")


def start(
    script: str, out: Path, *flags: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A shell script in which "$@" is a short run, without the server of imports that the session's runs share: what
    comes from there has the session's limits and mounts."""
    own = {name: value for name, value in os.environ.items() if name != SHARED} | dict(env or {})
    command = [sys.executable, str(ROOT / "run.py"), "--profile", "cpu", "--out", str(out), *SHORT, "--own_texts", "0"]
    words = ["sh", "-c", script, "sh", *command, *flags, "--stall_minutes", "8"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=own)
    assert processes_of(out) == []
    return done


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stdout + done.stderr, done.stdout[-3000:] + done.stderr[-3000:]
    return (done.stdout + done.stderr).strip().rpartition("\n")[2]


@pytest.fixture
def in_own_mounts() -> str:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a folder here needs rights that this user does not have")
    return "unshare -m sh -c"


@pytest.mark.parametrize(
    ("script", "env"),
    [
        pytest.param('exec "$@"', {"TMPDIR": "long"}, id="long_TMPDIR"),
        pytest.param('exec "$@"', {"HOME": "/proc/self"}, id="HOME_that_cannot_be_written"),
        pytest.param('exec "$@"', {"CUDA_VISIBLE_DEVICES": ""}, id="no_visible_device"),
        pytest.param('exec "$@"', {"CUDA_VISIBLE_DEVICES": "GPU-0a1b,GPU-0a1b,7"}, id="devices_that_are_none"),
        pytest.param('ulimit -Sn 256; exec "$@"', {}, id="256_open_files"),
        pytest.param('umask 077; exec "$@"', {}, id="umask"),
    ],
)
def test_a_run_works(script: str, env: dict[str, str], tmp_path: Path, small_data: Path) -> None:
    temporary = tmp_path / ("a_folder_of_a_job_" * 3) if "TMPDIR" in env else Path(tempfile.mkdtemp(dir="/tmp"))
    temporary.mkdir(exist_ok=True)
    env = {**env, "TMPDIR": str(temporary)}
    secrets = {"HF_TOKEN": "hf_canary0123456789", "WANDB_API_KEY": "wandbcanary0123456789"}
    done = start(script, tmp_path / "run", "--T", "2", "--data", str(small_data), env={**env, **secrets})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert 2 in metrics(tmp_path / "run")
    left = [path.name for path in temporary.iterdir()]
    shutil.rmtree(temporary)
    # What torch has compiled is worth keeping.
    assert [name for name in left if not name.startswith("torchinductor_")] == []
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            assert not any(secret.encode() in file.read_bytes() for secret in secrets.values()), file


def test_little_shared_memory_works_or_is_named(in_own_mounts: str, tmp_path: Path, small_data: Path) -> None:
    script = f'{in_own_mounts} \'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"\' sh "$@"'
    done = start(script, tmp_path / "run", "--T", "2", "--data", str(small_data))
    assert done.returncode == 0 or "--shm-size" in last_words(done), done.stdout[-3000:] + done.stderr[-3000:]


def test_a_hard_limit_of_open_files_works_or_is_named(tmp_path: Path, small_data: Path) -> None:
    done = start('ulimit -n 256; exec "$@"', tmp_path / "run", "--T", "2", "--data", str(small_data))
    assert done.returncode == 0 or "ulimit -n 65535" in last_words(done), done.stdout[-3000:] + done.stderr[-3000:]


def test_a_disk_that_fills_up_is_named_and_the_run_goes_on_with_room(
    in_own_mounts: str, tmp_path: Path, small_data: Path
) -> None:
    """The log is on it, and holds no word of it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = """
    disk=$0; out=$disk/run; mount -t tmpfs -o size=400m tmpfs "$disk"
    (while ! [ -s "$out/metrics.jsonl" ]; do sleep 0.1; done; dd if=/dev/zero of="$disk/full" bs=1M 2>/dev/null) &
    "$@"; echo "first $?"
    wait; rm -f "$disk/full"
    "$@" --resume; echo "second $?"
    """
    script = f'{in_own_mounts} \'{inside}\' "{disk}" "$@"'
    said = start(script, disk / "run", "--T", "3", "--save_freq", "1", "--data", str(small_data)).stdout
    first, _, rest = said.partition("first ")
    assert not rest.startswith("0"), said[-3000:]
    assert "The disk of" in first, said[-3000:]
    assert rest.rstrip().endswith("second 0"), said[-3000:]


@pytest.fixture
def small_memory() -> Iterator[Path]:
    group = MEMORY / f"uft-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(2 << 30))
    except OSError:
        pytest.skip("a control group needs rights that this user does not have (version 1)")
    yield group
    with suppress(OSError):
        group.rmdir()


def test_a_group_without_memory_is_named(small_memory: Path, tmp_path: Path, small_data: Path) -> None:
    script = f'echo $$ > {small_memory}/cgroup.procs; exec "$@"'
    done = start(script, tmp_path / "run", "--T", "2", "--data", str(small_data))
    assert done.returncode not in (0, 2)
    assert "main memory is full" in last_words(done), last_words(done)


def test_a_limit_of_memory_is_named(tmp_path: Path, small_data: Path) -> None:
    """What fails first is left to chance: a thread, an allocation, a file that is mapped."""
    done = start('ulimit -v 4000000; exec "$@"', tmp_path / "run", "--T", "2", "--data", str(small_data))
    assert done.returncode not in (0, 2)
    assert "is limited to 4.1 GB here (ulimit -v)" in last_words(done), last_words(done)
