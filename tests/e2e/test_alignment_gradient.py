"""Offline alignment on the CPU: the gradient of a step for every split of its batch, and runs that are killed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from recipes.common.run_dir import RunDir, complete_checkpoints, read_metrics
from recipes.trl_plugin.plan import TrainingPlan, write_plan
from recipes.verl_plugin.warm_client import SHARED
from recipes.verl_plugin.warm_client import command as warm_command
from tests.e2e.support import EMBEDDED, ROOT, ranks_of, tiny_model
from tests.helpers.alignment_checks import BATCH, plan

pytestmark = pytest.mark.e2e

METHODS = (
    "sft", "dpo", "kto", "una mse", "una bce", "una_sft", "una lora", "dpo precomputed", "kto precomputed"
)  # fmt: skip
QUIET = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("alignment")
    tiny_model(made / "model")
    plan(made, made / "model", "una")
    return made


@pytest.fixture(scope="module")
def gradients(folder: Path) -> dict[int, dict]:
    found = {}
    for ranks in (1, 2):
        out = folder / f"{ranks}.pt"
        ranks_of("alignment_worker.py", folder / "model", folder, out, ranks=ranks, env=QUIET)
        found[ranks] = torch.load(out)
    return found


def flat(gradient: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for _, value in sorted(gradient.items())])


@pytest.mark.parametrize("method", METHODS)
def test_gradient_does_not_depend_on_micro_batches_padding_or_ranks(gradients: dict[int, dict], method: str) -> None:
    whole = flat(gradients[1][method, BATCH, False])
    assert whole.norm() > 1e-3, "no gradient: the comparison would prove nothing"
    for ranks in (1, 2):
        for (name, micro, left), gradient in gradients[ranks].items():
            if name == method:
                difference = (flat(gradient) - whole).norm() / whole.norm()
                assert difference < 1e-5, f"{ranks} ranks, micro-batches of {micro}, left {left}: {difference}"


def by_hand(method: str, folder: Path) -> torch.Tensor:
    """The loss of the first step by one forward pass a completion, without padding: policy moved as in the worker."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipes.trl_plugin.rows import encoder, load_training, run_order
    from tests.e2e.alignment_worker import METHODS as OPTIONS

    settings = plan(folder, folder / "model", **{"n": 24, **OPTIONS[method]})
    rows = load_training(settings, encoder(settings, AutoTokenizer.from_pretrained(settings.model))).rows
    step = [rows[row] for row in run_order(len(rows), BATCH, settings.seed)]
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32) for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))

    def ratio(prompt: list[int], completion: list[int]) -> torch.Tensor:
        found = []
        for model in (policy, reference):
            log_probs = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            found.append(log_probs.gather(-1, torch.tensor(completion)[:, None]).sum())
        return found[0] - found[1].detach()

    beta = settings.alignment.beta
    if method == "sft":
        tokens = sum(label != -100 for row in step for label in row["labels"])
        losses = []
        for row in step:
            at = row["labels"].count(-100)
            losses.append(-ratio(row["input_ids"][:at], row["input_ids"][at:]))
        loss = torch.stack(losses).sum() / tokens
    elif method == "dpo":
        margins = [
            ratio(row["prompt_ids"], row["chosen_ids"]) - ratio(row["prompt_ids"], row["rejected_ids"]) for row in step
        ]
        loss = -(beta * torch.stack(margins)).sigmoid().log().mean()
    elif method == "kto":
        others = [ratio(step[i]["prompt_ids"], step[i - 1]["completion_ids"]).detach() for i in range(BATCH)]
        z = torch.stack(others).mean().clamp(min=0)
        assert z > 0.1, "a KL term of 0 would prove nothing"
        signs = torch.tensor([1.0 if row["label"] else -1.0 for row in step])
        assert abs(signs.sum()) < BATCH, "the step should hold good and bad rows"
        ratios = torch.stack([ratio(row["prompt_ids"], row["completion_ids"]) for row in step])
        loss = (1 - (beta * signs * (ratios - z)).sigmoid()).mean()
    else:
        targets = torch.tensor([row["label"] for row in step])
        s = (beta * torch.stack([ratio(row["prompt_ids"], row["completion_ids"]) for row in step])).sigmoid()
        crossed = -(targets * s.log() + (1 - targets) * (1 - s).log())
        loss = (crossed if method == "una bce" else (s - targets).square()).mean()
    loss.backward()
    return flat({name: parameter.grad for name, parameter in policy.named_parameters()})


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "una mse", "una bce", "una_sft"])
def test_gradient_is_that_of_the_equation(gradients: dict[int, dict], folder: Path, method: str) -> None:
    expected, found = by_hand(method, folder), flat(gradients[1][method, BATCH, False])
    assert (found - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_stored_reference_is_the_reference(gradients: dict[int, dict], method: str) -> None:
    stored, held = (flat(gradients[1][name, BATCH, False]) for name in (f"{method} precomputed", method))
    assert (stored - held).norm() / held.norm() < 1e-5


# --- whole runs ------------------------------------------------------------------------------------------------------

RUNS: dict[str, dict[str, Any]] = {
    # All weights trained: after the kill nothing but the stored file remembers the reference.
    "dpo": {"method": "dpo", "alignment": {"precompute_ref": True, "micro_batch_size": 4}},
    # Dropout: the random state has to be continued, too.
    "una lora": {
        "method": "una",
        "lora_rank": 4,
        "alignment": {"lora_dropout": 0.2, "sft_ratio": 0.25, "micro_batch_size": 4},
    },
}
STEPS = 6


def start(settings: TrainingPlan, *python: str) -> subprocess.Popen[str]:
    folder = Path(settings.run_dir)
    write_plan(settings, folder)
    with (folder / "log.txt").open("a") as log:
        command = [*(python or [sys.executable]), "-m", "recipes.trl_plugin.main", str(folder)]
        return subprocess.Popen(command, env={**os.environ, **QUIET}, stdout=log, stderr=log, text=True, cwd=ROOT)


def finish(settings: TrainingPlan) -> None:
    done = start(settings, *warm_command(os.environ[SHARED]))
    assert done.wait(600) == 0, (Path(settings.run_dir) / "log.txt").read_text()[-3000:]


def numbers(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """All measurements of a run but times and memory."""
    rows = read_metrics(RunDir(folder).metrics)
    return [
        (row["step"], {k: v for k, v in row["data"].items() if not k.startswith(("timing_s/", "perf/"))})
        for row in rows
    ]


@pytest.mark.parametrize("name", RUNS)
def test_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    straight = plan(tmp_path, EMBEDDED, **RUNS[name], max_steps=STEPS)
    killed = replace(straight, run_dir=str(tmp_path / "killed"))
    for each in (straight, killed):
        Path(each.run_dir).mkdir()
    finish(straight)

    process, checkpoints = start(killed), RunDir(Path(killed.run_dir)).checkpoints
    deadline = time.time() + 300
    while not complete_checkpoints(checkpoints) and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = complete_checkpoints(checkpoints)
    assert whole
    assert whole[-1][0] < STEPS, "the run was over before it could be killed"
    (checkpoints / "checkpoint-99").mkdir()  # what a kill while saving leaves
    finish(replace(killed, resume_from=str(whole[-1][1])))

    expected = numbers(Path(straight.run_dir))
    assert [step for step, _ in expected] == list(range(STEPS + 1))
    assert numbers(Path(killed.run_dir)) == expected
    assert expected[-1][1]["val/pairs/margin"] != 0
    assert not list(checkpoints.glob("checkpoint-*"))
    assert_whole_output(straight)


def assert_whole_output(settings: TrainingPlan) -> None:
    """hf/last is a model that gives the last validation's numbers; its card names them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipes.trl_plugin.rows import encoder, load_held_out

    run = RunDir(Path(settings.run_dir))
    model = AutoModelForCausalLM.from_pretrained(run.hf / "last", dtype=torch.float32)
    test = load_held_out(settings, encoder(settings, AutoTokenizer.from_pretrained(run.hf / "last")))
    nll, tokens = 0.0, 0
    with torch.no_grad():
        for prompt, completion in (test.completions[at] for at in test.instructions):
            log_probs = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            nll -= log_probs.gather(-1, torch.tensor(completion)[:, None]).sum().item()
            tokens += len(completion)
    last = read_metrics(run.metrics)[-1]["data"]["val/instruction_nll"]
    assert nll / tokens == pytest.approx(last, rel=1e-4)
    assert (run.hf / "adapter/adapter_model.safetensors").exists() == bool(settings.lora_rank)
    assert [step for step, _ in complete_checkpoints(run.checkpoints)] == [4, 6]
