"""The exception that ended a run, found among those that followed from it."""

from pathlib import Path

import pytest

from recipes.watch.diagnose import Facts, diagnose, explains
from recipes.watch.signs import WEIGHTS_LOST
from recipes.watch.tracebacks import root_exception
from tests.helpers.failed_logs import ACTOR_DIED, RUNNER, VLLM_ERROR, failed, ray_error

TORCHRUN = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "/home/u/sft.py", line 3, in <module>
[rank0]:     read(rows)
[rank0]: KeyError: 'answer'
E1121 09:00:00.000000 10 site-packages/torch/distributed/elastic/multiprocessing/api.py:984] failed (exitcode: 1)
Traceback (most recent call last):
  File "/home/u/.venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
sft.py FAILED
"""


def test_an_unknown_exception_is_quoted_and_nothing_is_guessed() -> None:
    paragraph = failed(ray_error("ZeroDivisionError: division by zero"))
    assert paragraph.endswith("The cause: ZeroDivisionError: division by zero. The full output is in out/x/log.txt.")


def test_a_weight_sync_that_failed_in_the_engine_ends_with_the_engine_s_words() -> None:
    """The trainer's end hangs meanwhile; the exception stands in the lines of vLLM's worker."""
    who = "(Worker pid=9) "
    log = "\n".join(
        who + line
        for line in (
            "Traceback (most recent call last):",
            '  File "/v/weight_sync.py", line 55, in update_weights_from_ipc',
            "    super().update_weights_from_ipc(*args, **kwargs)",
            "ValueError: There is no module or parameter named 'lm_head' in LlamaForCausalLM",
            WEIGHTS_LOST,
        )
    )
    paragraph = failed(log)
    assert "no module or parameter named 'lm_head'" in paragraph
    assert "Sending the trained weights to vLLM failed" in paragraph


def test_the_engine_s_own_exception_wins_over_the_report_of_its_death() -> None:
    assert "The cause: ValueError: the scheduler gave 3 tokens, not 2." in failed(VLLM_ERROR)


def test_an_engine_that_died_without_a_word() -> None:
    quiet = "\n".join(line for line in VLLM_ERROR.splitlines() if "EngineCore pid" not in line)
    paragraph = failed(quiet)
    assert "vLLM's engine died without giving a reason" in paragraph
    assert "The cause:" not in paragraph


def test_ray_s_list_of_possible_causes_is_no_cause() -> None:
    paragraph = failed(ACTOR_DIED)
    assert "The log says only: ray.exceptions.ActorDiedError: The actor died unexpectedly" in paragraph
    assert "memory is full" not in paragraph


def test_torchrun_s_summary_does_not_hide_the_rank_s_exception() -> None:
    assert "The cause: KeyError: 'answer'. The data file lacks a column." in failed(TORCHRUN)


def test_the_last_exception_of_the_first_chain_is_shown() -> None:
    log = """\
Traceback (most recent call last):
  File "a.py", line 1, in f
    x
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "a.py", line 2, in g
    f()
OSError: the file is
  broken in two lines

Traceback (most recent call last):
  File "b.py", line 2, in later
    f()
RuntimeError: a consequence
"""
    raised = root_exception(log)
    assert raised is not None
    assert str(raised) == "OSError: the file is broken in two lines"


def test_ray_prints_some_remote_tracebacks_without_a_header() -> None:
    log = """\
2026-11-21 09:00:00,000\tERROR worker.py:421 -- Unhandled error: ray::Loop.score() (pid=5, ip=10.0.0.2)
  File "/a/loop.py", line 7, in score
    raise ValueError("no such task")
ValueError: no such task
"""
    assert str(root_exception(log)) == "ValueError: no such task"


@pytest.mark.parametrize(
    "text", ["", "all is well\n", "Traceback (most recent call last):\n", "  File\nKeyError: 'x'\n", "\x1b[31m"]
)
def test_a_log_without_an_exception_has_none(text: str) -> None:
    assert root_exception(text) is None


def test_harmless_warnings_are_no_reason() -> None:
    log = """\
UserWarning: torchtitan engine is not available: ModuleNotFoundError("No module named 'torchtitan'")
PermissionError was ignored while removing a temporary file
Warning: Failed to set NUMA affinity: libnuma.so: cannot open shared object file: No such file or directory
"""
    assert not explains(log)
    assert "./install.sh" not in failed(log)
    assert "The log has no exception; its last line: Warning: Failed to set NUMA affinity" in failed(log)


def test_what_is_no_exception_is_told_by_its_last_line() -> None:
    """A stage that says one clear line and ends with exit code 2."""
    said = f"{RUNNER}loading\n\x1b[31mlm-evaluation-harness is not installed: pip install it\x1b[0m\n\n"
    assert "its last line: lm-evaluation-harness is not installed: pip install it. The full" in failed(said)
    assert "The log is empty." in failed("\n")


def test_long_messages_are_cut() -> None:
    raised = root_exception(ray_error("ValueError: " + "x" * 5000))
    assert raised is not None
    assert len(str(raised)) <= 400


def test_verls_word_for_failed_rollouts_does_not_hide_the_dead_engine() -> None:
    log = (
        "(AgentLoopWorkerTQ pid=7) Traceback (most recent call last):\n"
        '(AgentLoopWorkerTQ pid=7)   File "engine.py", line 1, in generate\n'
        "(AgentLoopWorkerTQ pid=7) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. "
        "See stack trace (above) for the root cause.\n"
        "Traceback (most recent call last):\n"
        '  File "replay_buffer.py", line 9, in sample\n'
        "RuntimeError: Sync replay buffer selected terminal groups with no materializable trajectories.\n"
    )
    said = diagnose(log, Facts(title="rft", reason="failed", log=Path("log.txt"), exit_code=1))
    assert "engine died" in said
    assert "materializable" not in said
