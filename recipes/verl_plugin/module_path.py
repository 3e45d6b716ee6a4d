"""Makes Ray's workers find our modules, regardless of the working folder's contents."""

from collections.abc import Iterable
from functools import partial

import ray
from ray.job_config import JobConfig

from recipes import ROOT


class _OursLast(list[str]):
    """Places that a worker prepends to its sys.path one by one, so that the last is searched first."""

    def extend(self, places: Iterable[str]) -> None:
        super().extend([*places, str(ROOT)])


def ours_first() -> None:
    """Make ray.init in this process, the driver, tell workers to search our modules first, then the driver's folder.

    By default Ray puts the driver's folder first: an eval.py there would shadow our package.
    """
    job = JobConfig()
    job._py_driver_sys_path = _OursLast()
    ray.init = partial(ray.init, job_config=job)
