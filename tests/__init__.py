"""All tests: `python3 -m tests`."""

from run import ROOT, enter_environment_of_module

enter_environment_of_module()

__all__ = ["ROOT"]
