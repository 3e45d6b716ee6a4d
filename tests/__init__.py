"""All tests: `python3 -m tests`."""

from run import enter_environment_of_module

enter_environment_of_module()
