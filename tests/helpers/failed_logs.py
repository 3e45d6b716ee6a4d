"""Ends of logs as Ray and vLLM write them, and the diagnosis of one."""

from pathlib import Path

from recipes.watch.diagnose import Facts, diagnose
from recipes.watch.heartbeat import Heartbeat

LOG = Path("out/x/log.txt")


BEAT = Heartbeat(step=12, total_steps=500, phase="update", time=0.0)


RAY_ERROR = """\
\x1b[36m(TaskRunner pid=8659)\x1b[0m step:11 - critic/score/mean:0.2
\x1b[36m(WorkerDict pid=9142)\x1b[0m Loading weights: 100%|##########| 26/26 [00:00<00:00, 22681.34it/s]
Error executing job with overrides: ['trainer.device=cuda']
Traceback (most recent call last):
  File "/home/u/recipes/verl_plugin/main.py", line 40, in main
    ray.get(runner.run.remote(config))
  File "/home/u/.venv/lib/python3.11/site-packages/ray/_private/worker.py", line 3009, in get
    values, debugger_breakpoint = worker.get_objects(
                                  ^^^^^^^^^^^^^^^^^^^
ray.exceptions.RayTaskError({short}): \x1b[36mray::Runner.run()\x1b[39m (pid=8659, ip=10.0.0.2, repr=<t>)
  File "/home/u/recipes/verl_plugin/trainer.py", line 77, in run
    trainer.fit()
           ^^^^^^^
ray.exceptions.RayTaskError({short}): \x1b[36mray::WorkerDict.update()\x1b[39m (pid=9142, ip=10.0.0.2, repr=<w>)
  File "/home/u/{file}", line 7, in {function}
    loss.backward()
    ^^^^^^^^^^^^^^^
{error}
"""


def ray_error(error: str, file: str = "actor.py", function: str = "update") -> str:
    kind = error.partition(":")[0]
    return RAY_ERROR.format(error=error, short=kind.rpartition(".")[2], file=file, function=function)


RUNNER = "\x1b[36m(TaskRunner pid=8659)\x1b[0m "


ENGINE = "\x1b[36m(vLLMHttpServer pid=9311)\x1b[0m (EngineCore pid=9411) ERROR 11-21 09:01:43 [core.py:1348] "


VLLM_ERROR = f"""\
{ENGINE}EngineCore encountered a fatal error.
{ENGINE}Traceback (most recent call last):
{RUNNER}a line of another process in between
{ENGINE}  File "/v/core.py", line 1340, in run_engine_core
{ENGINE}    engine_core.run_busy_loop()
{ENGINE}ValueError: the scheduler gave 3 tokens, not 2
{RUNNER}Traceback (most recent call last):
{RUNNER}  File "/v/async_llm.py", line 305, in generate
{RUNNER}    raise EngineDeadError()
{RUNNER}vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace.
"""


ACTOR_DIED = """\
Traceback (most recent call last):
  File "/home/u/main.py", line 22, in <module>
    ray.get(a.step.remote())
ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
\tclass_name: WorkerDict
\tpid: 5778
The actor is dead because its worker process has died. Worker exit detail: Worker unexpectedly exits with a connection
error code 2. Some common causes include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray
stop --force was called, (3) the worker crashed unexpectedly due to SIGSEGV or other unexpected errors.
"""


def failed(log: str, exit_code: int | None = 1, **facts: object) -> str:
    return diagnose(log, Facts("uft on countdown", "failed", LOG, exit_code, BEAT, **facts))  # type: ignore[arg-type]
