"""Turns an Experiment into stages, one process each, and writes the results."""
