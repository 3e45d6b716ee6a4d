"""Preparation of training and evaluation data: every task becomes parquet files in the format of schema.py.
One module per task, each with `prepare(...)` and a command line; `python -m data_prep` lists them."""

from run import enter_environment_of_module

enter_environment_of_module()
