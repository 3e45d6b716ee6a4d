"""What a user's algorithm file does at later steps of a run, and on a slow machine, is known before its start."""

import re
import sys
from functools import partial
from pathlib import Path

import pytest

from recipes import ROOT
from recipes.algorithms import AlgorithmFileError, get_algorithm, time_limit
from recipes.common.values import TAKEN_METRICS
from tests.helpers.own_algorithms import field, refused, written


def test_what_an_import_takes_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception would leave a module of others half imported, or end Python in its C++."""
    monkeypatch.setattr("recipes.algorithms.time_limit", partial(time_limit, 0.1))
    slow = tmp_path / "lib/python3/site-packages/slow_to_import.py"
    slow.parent.mkdir(parents=True)
    slow.write_text("import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end:\n    pass\n")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "lib"))
    monkeypatch.syspath_prepend(str(slow.parent))
    assert get_algorithm(written(tmp_path, "import slow_to_import\n" + field())).name


def test_waiting_for_a_busy_machine_is_no_computing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.algorithms.time_limit", partial(time_limit, 0.4))
    assert get_algorithm(written(tmp_path, "import time\ntime.sleep(0.6)\n" + field())).name
    (tmp_path / "later").mkdir()
    with pytest.raises(AlgorithmFileError, match="cannot be loaded: OutOfTimeError"):
        get_algorithm(written(tmp_path / "later", "import time\nwhile True:\n    time.sleep(0.1)\n"))


LATER = {
    "weigh fails": (
        "weigh(group, s)",
        "if group.step > 10:\n        raise KeyError('x')\n    return Weights()",
        "KeyError",
    ),
    "a weight that is none": (
        "weigh(group, s)",
        "w = group.gen * (float('nan') if group.step > 10 else 1)\n    return Weights(terms=(Term(w, 'mine'),))",
        "not finite",
    ),
    "another term": (
        "weigh(group, s)",
        "name = 'mine' if group.step < 9 else 'lr'\n    return Weights(terms=(Term(group.gen.float(), name),))",
        "verl logs actor/lr itself",
    ),
    "one length": (
        "weigh(group, s)",
        "import torch\n    return Weights(terms=(Term(torch.zeros(group.old.shape[0], 7), 'mine'),))",
        "must be a tensor of shape",
    ),
    "a draw": ("rollout(at, s, rng)", "if at.step == 17:\n        raise KeyError('x')\n    return Bare()", "KeyError"),
    "of three texts": (
        "rollout(at, s, rng)",
        "return Hint(segments=at.segments if at.segments != 3 else -1)",
        "segments=-1",
    ),
    "a metric": ("metrics(step, s)", "return {'rate': 1 / (step - 7)}", "ZeroDivisionError"),
    "a metric of ours": ("metrics(step, s)", "return {'hint_frac': 1.0}", "every run logs uft/hint_frac itself"),
    "numpy": (
        "weigh(group, s)",
        "return Weights(terms=(Term(group.gen.numpy().astype('float32'), 'mine'),))",
        "must be a tensor of shape",
    ),
    "sparse": (
        "weigh(group, s)",
        "return Weights(terms=(Term(group.gen.float().to_sparse(), 'mine'),))",
        "is sparse: must be a dense real tensor",
    ),
    "elsewhere": (
        "weigh(group, s)",
        "return Weights(terms=(Term(group.gen.float().to('meta'), 'mine'),))",
        "is on the device meta",
    ),
}


@pytest.mark.parametrize("fault", LATER)
def test_what_goes_wrong_at_a_later_step_is_found_before_the_start(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook, body, says = LATER[fault]
    text = f"def {hook}:\n    {body}\n" + field(**{hook.partition("(")[0]: hook.partition("(")[0]})
    refused(tmp_path, capsys, text, says)


def test_names_of_our_own_metrics_are_all_taken() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "recipes/verl_plugin").glob("*.py"))
    assert {*re.findall(r'"uft/([a-z_]+)"', source)} <= TAKEN_METRICS
