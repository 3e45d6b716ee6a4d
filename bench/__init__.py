"""What runs cost and what rewards get wrong, measured; each module a command line of its own."""

from run import enter_environment_of_module

enter_environment_of_module()
