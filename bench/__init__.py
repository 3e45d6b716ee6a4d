"""Measurements of what runs cost and what rewards get wrong; each module has its own command line."""

from run import enter_environment_of_module

enter_environment_of_module()
