"""The modes of run.py: train, evaluate, sweep, reproduce, pipeline."""
