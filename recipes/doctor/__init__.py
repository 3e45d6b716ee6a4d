"""Reports what this machine has and what it lacks."""
