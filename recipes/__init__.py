"""Unified fine-tuning recipes: an Experiment in, a supervised verl run out."""

from run import enter_environment_of_module

enter_environment_of_module()
