"""What the end-to-end tests share: a random model of a few seconds, and runs of run.py."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from data_prep.countdown import generate as countdown
from recipes.common.run_dir import RunDir, read_metrics
from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.warm_client import SHARED
from recipes.verl_plugin.warm_client import command as warm_command
from recipes.watch.processes import processes_of

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "models/tiny-countdown"

# The shared UFT run: six steps, hints until the fifth, every rollout written down.
SEED, T_HINT = 5, 5
RL = ("--batch_size", "8", "--seed", str(SEED), "--test_freq", "2", "--log_rollouts", "-1")
MEASURED = (*RL, "--own_texts", "16", "--val_samples", "2")
HINTS = ("--T_hint", str(T_HINT))
UFT = ("--algo", "uft", "--T", "6", *HINTS, *RL)


def tiny_model(folder: Path, *, tied: bool = True) -> Path:
    """A random two-layer Qwen2 with the embedded model's tokenizer; the same weights in every process.

    Not `tied`: with an output layer of its own, as models from 7B upwards have.
    """
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    # A large initialisation: with small weights all log-probabilities are alike and mistakes cancel.
    model = Qwen2ForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_experiment(**flags: Any) -> Experiment:
    """An experiment on the CPU profile."""
    return build_experiment(flags, PROFILES["cpu"])


def run(
    out: Path, *flags: str, check: bool = True, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """run.py with these flags into `out`; fails the test with its output when it fails. `env` is added to ours."""
    # A run that hangs fails its test long before the suite's own limit.
    patience = () if "--stall_minutes" in flags else ("--stall_minutes", "8")
    # A process more for every run, of which only some tests look at the result.
    unmeasured = () if {"--own_texts", "--eval"} & {*flags} else ("--own_texts", "0")
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        "--profile",
        "cpu",
        "--out",
        str(out),
        *flags,
        *patience,
        *unmeasured,
    ]
    full = {**os.environ, **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=full)
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def ranks_of(worker: str, *arguments: str | Path, ranks: int = 1, env: Mapping[str, str]) -> None:
    """tests/e2e/`worker` on gloo ranks, as torchrun starts them but from the session's warm server, with `env` on top
    of this process's; fails the test with its output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1", **meet}
    command = [*warm_command(os.environ[SHARED]), str(ROOT / "tests/e2e" / worker), *map(str, arguments)]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, **env, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        for rank in range(ranks)
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * ranks, "\n".join(each[-3000:] for each in said)


def small_countdown(folder: Path) -> Path:
    """64 + 32 easy countdown problems."""
    countdown.prepare(folder, n_train=64, n_test=32, seed=0, max_number=30, operators="+-*")
    return folder


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A line of JSON for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def metrics(out: Path) -> dict[int, dict[str, float]]:
    """metrics.jsonl by step; lines of the same step are joined."""
    found: dict[int, dict[str, float]] = {}
    for row in read_metrics(RunDir(out).metrics):
        found.setdefault(row["step"], {}).update(row["data"])
    return found


def rollouts(out: Path, step: int) -> list[dict[str, Any]]:
    """The logged rollouts of a step."""
    return [json.loads(line) for line in (RunDir(out).rollouts / f"{step}.jsonl").read_text().splitlines()]


def kill_after(out: Path, step: int, *flags: str, stage: str = "") -> None:
    """Start run.py, wait until it has recorded `step` (of a pipeline: of that stage), and kill it with everything it
    started, all at once."""
    here = out / stage

    def is_due() -> bool:
        return any("actor/loss" in data or "train/loss" in data for at, data in metrics(here).items() if at >= step)

    kill_when(is_due, out, *flags, stage=stage)


def kill_when(is_due: Callable[[], bool], out: Path, *flags: str, stage: str = "") -> None:
    """`kill_after`, at any moment."""
    machine = () if "--profile" in flags else ("--profile", "cpu")
    command = [sys.executable, str(ROOT / "run.py"), *machine, "--out", str(out), *flags]
    front = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    limit = time.time() + 400
    while not is_due():
        assert front.poll() is None, (out / stage / "log.txt").read_text()[-3000:]
        assert time.time() < limit, "the run never came to where it was to be killed"
        time.sleep(0.05)
    everything = [psutil.Process(front.pid), *processes_of(out / stage)]
    assert not (found := open_to_others(everything)), found
    for process in everything:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    front.wait()


def open_to_others(processes: Sequence[psutil.Process]) -> list[str]:
    """Sockets of processes that listen beyond loopback."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN and not each.laddr.ip.removeprefix("::ffff:").startswith("127."):
                    found.append(f"{process.name()} on {each.laddr.ip}:{each.laddr.port}")
    return found


def without_times(data: dict[str, float]) -> dict[str, float]:
    """Metrics that a run is expected to repeat."""
    kept = ("uft/", "critic/score", "reward/", "val/acc", "actor/hint_nll", "actor/pg_loss", "due/")
    return {name: value for name, value in data.items() if name.startswith((*kept, "train/loss", "val/loss"))}


OF_THE_MACHINE = ("timing", "perf/", "actor/perf/")
OF_THE_ENGINE = ("rollout_corr/", "training/rollout_")
"""Log-probabilities as vLLM gives them: their last bits depend on which requests happened to share a batch."""


def expect_same_run(run: Path, other: Path, but: Collection[int] = ()) -> None:
    """The same steps, metrics, rollouts and weights to the digit; at steps of `but` one may have more metrics."""
    found, expected = metrics(run), metrics(other)
    assert sorted(found) == sorted(expected)
    for step in expected:
        if step not in but:
            assert found[step].keys() == expected[step].keys()
        shared = expected[step].keys() & found[step].keys()
        exact = {name for name in shared if not name.startswith((*OF_THE_MACHINE, *OF_THE_ENGINE))}
        assert len(exact) > 10
        # verl sums some of them in the order in which the answers came.
        values, others = ({name: data[step][name] for name in exact} for data in (found, expected))
        assert values == pytest.approx(others, rel=1e-12, abs=0.0)
        for name in (name for name in shared if name.startswith(OF_THE_ENGINE)):
            assert found[step][name] == pytest.approx(expected[step][name], abs=1e-4), name
        if step:
            assert rollouts(run, step) == rollouts(other, step)
    for part in ("last", "best"):
        one, two = ((folder / "hf" / part / "model.safetensors").read_bytes() for folder in (run, other))
        assert one == two


CHAT_TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


SMOLLM2_135M = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "max_position_embeddings": 2048,
}
"""What its shape has other than `wide_model`'s: 134.5 million parameters."""


def wide_model(folder: Path, vocabulary: int = 49_152, *, tied: bool = True, **shape: int) -> Path:
    """A random two-layer Llama as published ones are: a vocabulary matrix of more than 64 MiB, a chat template of its
    own, and a config.json that speaks of another type than the weights have. shape: what of it is to be otherwise."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy2(EMBEDDED / name, folder / name)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    known = len(words) + len([token for token in tokenizer["added_tokens"] if token["content"] not in words])
    # No merge leads to them: prompts are encoded as before, but every id can be decoded.
    words |= {f"Ġw{number}": number for number in range(known, vocabulary)}
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    loaded = AutoTokenizer.from_pretrained(folder)
    assert len(loaded) == vocabulary
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 384,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "max_position_embeddings": 1024,
    }
    config = LlamaConfig(
        **(sizes | shape),
        vocab_size=vocabulary,
        num_key_value_heads=3,
        head_dim=64,
        tie_word_embeddings=tied,
        eos_token_id=loaded.eos_token_id,
        pad_token_id=loaded.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**saved, "dtype": "bfloat16"}), encoding="utf-8")
    return folder
