"""An Experiment becomes stages, each a process, and what is left when they end."""
