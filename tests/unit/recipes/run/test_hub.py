"""--push_to_hub against a stand-in for the hub: what is uploaded, and what is refused before anything is trained."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import recipes.commands.train  # noqa: F401  (once, for all forks)
from recipes.common.run_dir import RunDir
from tests import ROOT
from tests.helpers.front_checks import experiment, finished_on_disk, front_door, small_folder
from tests.helpers.hub_server import TOKEN, Hub, hub_server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as found:
        yield found


def asked(hub: Hub, token: str = TOKEN) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}


FLAGS = ("--profile", "cpu", "--batch_size", "8", "--T", "4", "--T_hint", "2", "--test_freq", "2", "--own_texts", "0")

REFUSED = [
    ("me/model", "", "needs a token with write access in the variable HF_TOKEN"),
    ("me/model", "hf_old", "the hub does not accept the token in HF_TOKEN"),
    ("others/model", TOKEN, "the token in HF_TOKEN has no write access there"),
    ("others/new", TOKEN, "the token in HF_TOKEN has no write access there"),
    ("model", TOKEN, "use ORG/NAME"),
    ("me/mo del", TOKEN, "not a valid name on the hub; use ORG/NAME"),
    ("me/gone", TOKEN, "http://127.0.0.1:9 does not answer"),
]


def fresh(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: the hub's client reads its address as it is imported."""
    command = [sys.executable, *words]
    full = {**os.environ, **env}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=full, check=False, timeout=150)


def test_what_the_hub_will_not_take_is_refused(hub: Hub) -> None:
    code = """
import json, os, sys
from recipes.common.errors import ExperimentError
from recipes.run.hub import refuse_push
for name, token, _ in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    if name == "me/gone":
        os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    try:
        refuse_push(name, make=True)
    except ExperimentError as error:
        print(error)
"""
    done = fresh("-c", code, json.dumps(REFUSED), **asked(hub))
    assert done.returncode == 0, done.stderr
    for said, (name, _, says) in zip(done.stdout.splitlines(), REFUSED, strict=True):
        assert said.startswith(f"--push_to_hub {name}: ")
        assert says in said


@pytest.mark.parametrize("dry", [True, False])
def test_nothing_is_trained_for_a_hub_that_refuses(dry: bool, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = (*FLAGS, "--data", str(folder), "--out", str(out), "--push_to_hub", "me/model")
    done = front_door(*flags, *(["--dry_run"] if dry else []), HF_TOKEN="")
    assert done.returncode == 2
    assert done.stderr.startswith("run.py: --push_to_hub me/model: needs a token")
    assert done.stderr.count("\n") == 1
    assert not (out / "experiment.yaml").exists()


@pytest.mark.parametrize("mode", [("--sweep", "--algo", "rft,uft"), ("--reproduce", "uft_table")])
def test_many_models_are_not_one_repository(mode: tuple[str, ...]) -> None:
    done = front_door(*mode, "--push_to_hub", "me/model", "--dry_run", HF_TOKEN=TOKEN)
    assert (done.returncode, "trains several models" in done.stderr) == (2, True)


def test_a_finished_run_is_uploaded_private_with_its_card_and_without_the_token(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "run")
    # As run.py resolves it from these flags.
    finished_on_disk(run, experiment(folder, own_texts=0))
    (run.checkpoints / "global_step_4/actor/huggingface/model.safetensors").write_bytes(b"weights")
    (run.hf / "adapter").mkdir(parents=True)
    (run.hf / "adapter/adapter_config.json").write_text("{}")
    flags = (*FLAGS, "--data", str(folder), "--out", str(run.path), "--resume", "--push_to_hub", "me/model")
    hub.refuses_commits = True
    done = fresh(str(ROOT / "run.py"), *flags, **asked(hub))
    assert done.returncode == 2
    assert "the same command with --resume retries the upload" in done.stderr
    hub.refuses_commits = False
    done = fresh(str(ROOT / "run.py"), *flags, **asked(hub))
    assert done.returncode == 0, done.stderr
    assert f"on the hub     {hub.endpoint}/me/model" in done.stdout
    assert hub.private == {"me/model": True}
    files = hub.files["me/model"]
    assert {"config.json", "README.md", "model.safetensors", "adapter/adapter_config.json"} <= files.keys()
    assert files["model.safetensors"] == b"weights"
    card = files["README.md"].decode()
    assert "python3 run.py" in card
    assert "--push_to_hub" not in card
    for text in (
        "# tiny-countdown after uft",
        "[arXiv 2505.16984](https://arxiv.org/abs/2505.16984)",
        "0.0% before, 40.0% after",
    ):
        assert text in card
    kept = b"".join(file.read_bytes() for file in run.path.rglob("*") if file.is_file())
    assert TOKEN.encode() not in kept
    assert json.loads(run.summary.read_text())["last step"] == 4
