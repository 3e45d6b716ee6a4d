"""Unified fine-tuning recipes: an Experiment in, a supervised verl run out."""
