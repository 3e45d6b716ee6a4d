"""A command that is asked to stop outside of its stages: one line, the shell's exit code, nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from recipes.watch.signals import ASKING, Stopped, asked_to_stop, stopping
from tests import ROOT
from tests.helpers.front_checks import small_folder
from tests.helpers.watch_checks import watch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder with a name short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as place:
        yield Path(place)


@pytest.mark.parametrize(
    ("number", "sign"),
    [
        (signal.SIGINT, "out/run.lock"),
        (signal.SIGTERM, "tmp/uft-*/warm.pid"),
        (signal.SIGHUP, "out/experiment.yaml"),
        (signal.SIGQUIT, "tmp/uft-*/warm"),
    ],
)
def test_a_start_that_is_asked_to_stop_leaves_nothing(
    number: signal.Signals, sign: str, folder: Path, scratch: Path
) -> None:
    (scratch / "tmp").mkdir()
    flags = ["--profile", "cpu", "--algo", "uft", "--data", str(folder), "--T", "4", "--batch_size", "8"]
    command = subprocess.Popen(
        [sys.executable, "run.py", *flags, "--out", str(scratch / "out")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Shells start background jobs with some of them ignored.
        preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in ASKING],
    )
    limit = time.monotonic() + 60
    while not list(scratch.glob(sign)) and command.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    begun = psutil.Process(command.pid).children(recursive=True)
    command.send_signal(number)
    said, _ = command.communicate(timeout=60)
    assert command.returncode == 128 + number, said
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    # By the front door, or by the watchdog where the trainer had been started.
    assert f"stopped by {name}" in said.splitlines()[-1], said
    assert "Traceback" not in said
    assert not [each for each in begun if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not [*(scratch / "tmp").iterdir()]
    assert not (scratch / "out/run.lock").exists()


@contextmanager
def _raising(number: signal.Signals) -> Iterator[None]:
    try:
        yield
    finally:
        signal.raise_signal(number)


def test_only_the_first_signal_raises_and_what_handled_them_before_does_so_again() -> None:
    was = [signal.getsignal(each) for each in ASKING]
    with pytest.raises(Stopped) as stopped, stopping(), _raising(signal.SIGINT):  # an impatient second one
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.number == signal.SIGTERM
    with stopping(), asked_to_stop() as asked:
        signal.raise_signal(signal.SIGHUP)
    assert asked == [signal.SIGHUP]
    assert [signal.getsignal(each) for each in ASKING] == was


def test_a_signal_that_comes_as_a_stage_ends_stops_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(_: object) -> list[Path]:
        signal.raise_signal(signal.SIGTERM)
        return []

    # Once its verdict is there.
    monkeypatch.setattr("recipes.watch.supervise.full_disks", looked)
    with pytest.raises(Stopped), stopping():
        watch(tmp_path, "beat(4, 'finished')")
    with stopping():
        # What failed is said, and nothing is begun after it.
        outcome = watch(tmp_path, "beat(2); sys.exit(7)")
    assert (outcome.reason, outcome.exit_code) == ("interrupted", 128 + signal.SIGTERM)
    assert "failed (exit code 7)" in outcome.paragraph
