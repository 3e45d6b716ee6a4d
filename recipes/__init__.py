"""Unified fine-tuning recipes: an Experiment in, a supervised verl run out."""

from pathlib import Path

from run import enter_environment_of_module

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""

enter_environment_of_module()
