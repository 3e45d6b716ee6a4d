"""Hints: how much of the known solution a rollout starts from, and in which tokens."""
