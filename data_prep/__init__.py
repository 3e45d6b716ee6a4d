"""Preparation of training and evaluation data: every task becomes parquet files in the format of schema.py.
One package per task, each with `prepare(...)` and a command line; `python -m data_prep` lists them."""

import os

from run import enter_environment_of_module

# Those of `datasets` would stand among a run's own lines; 0 shows them. Inherited by all that is started.
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
enter_environment_of_module()
