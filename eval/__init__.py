"""Evaluation of models with vLLM and the reward functions training uses. Imports no trainer."""

from run import enter_environment_of_module

enter_environment_of_module()
