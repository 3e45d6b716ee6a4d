"""Checks before a start, including those of users' algorithm files."""
