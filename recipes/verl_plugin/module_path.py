"""Ray's workers find our modules, whatever lies in the folder that a command is given in."""

from collections.abc import Iterable
from functools import partial

import ray
from ray.job_config import JobConfig

from recipes import ROOT


class _OursLast(list[str]):
    """Places that a worker puts in front of its sys.path, one before the other: the last is looked through first."""

    def extend(self, places: Iterable[str]) -> None:
        super().extend([*places, str(ROOT)])


def ours_first() -> None:
    """Let ray.init of this process, the driver, tell workers to look for modules here first, and then in its folder.

    By itself Ray puts the driver's folder before everything: an eval.py there would be taken for our package.
    """
    job = JobConfig()
    job._py_driver_sys_path = _OursLast()
    ray.init = partial(ray.init, job_config=job)
