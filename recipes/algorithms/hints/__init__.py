"""Hints: how long a prefix of the known solution a rollout starts from, and which tokens it consists of."""
