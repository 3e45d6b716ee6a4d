"""Shared foundations: errors, value checks, the run folder and its records."""
