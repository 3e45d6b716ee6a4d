"""Memory of the last layer with and without the hint's log-likelihood, computed our way and the UFT repository's.

The UFT repository computes logits of the whole prompt to score the hint in it, in addition to those of the response.
Here the hint is part of the response, whose logits GRPO computes anyway. One process per way, on random hidden states:

    grpo            logits of the response                      the policy loss
    ours            the same logits                             the policy loss and the hint's log-likelihood
    prompt logits   logits of the response, and of the prompt   the same loss, the hint from the prompt's logits
"""

import json
import resource
import subprocess
import sys
from typing import Any

from bench.inputs import ROOT, shape_of

WAYS = ("grpo", "ours", "prompt logits")


def measure(model: str, *, rows: int, prompt: int, hint: int, response: int, device: str) -> dict[str, Any]:
    """Peak bytes of a forward and backward pass of the head, for each way.

    Args:
        prompt: tokens before the hint.
        response: tokens of hint and generation together.
    """
    shape = shape_of(model)
    sizes = {"rows": rows, "prompt": prompt, "hint": hint, "response": response}
    found: dict[str, Any] = {**sizes, "vocabulary": shape.vocabulary, "hidden": shape.hidden, "device": device}
    for way in WAYS:
        asked = json.dumps({**sizes, "way": way, "vocabulary": shape.vocabulary, "hidden": shape.hidden})
        command = [sys.executable, "-m", "bench.head_memory", asked, device]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        found[way] = int(done.stdout.split()[-1])
    return found


def _pass(asked: dict[str, Any], device: str) -> int:
    """Bytes that a forward and backward pass adds at its peak."""
    import torch

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    rows, prompt, hint, response = (asked[name] for name in ("rows", "prompt", "hint", "response"))
    torch.manual_seed(0)
    head = torch.randn(asked["vocabulary"], asked["hidden"], device=device, dtype=dtype, requires_grad=True)
    # In the UFT repository's layout the hint is at the end of the prompt, and the response is generated text only.
    before, after = (prompt, response) if asked["way"] != "prompt logits" else (prompt + hint, response - hint)
    states = torch.randn(rows, before + after, asked["hidden"], device=device, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, asked["vocabulary"], (rows, before + after), device=device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated() if device == "cuda" else _resident()

    def log_probs(start: int, stop: int) -> torch.Tensor:
        logits = states[:, start - 1 : stop - 1] @ head.T
        chosen = labels[:, start:stop]
        return torch.gather(logits, -1, chosen[..., None]).squeeze(-1) - torch.logsumexp(logits, -1)

    answers = log_probs(before, before + after)
    if asked["way"] == "grpo":
        loss = -answers[:, hint:].mean()
    elif asked["way"] == "ours":
        loss = -answers[:, hint:].mean() - 0.001 * answers[:, :hint].mean()
    else:
        loss = -answers.mean() - 0.001 * log_probs(1, before)[:, prompt - 1 :].mean()
    loss.backward()
    return (torch.cuda.max_memory_allocated() if device == "cuda" else _resident()) - held


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(_pass(json.loads(sys.argv[1]), sys.argv[2]))
