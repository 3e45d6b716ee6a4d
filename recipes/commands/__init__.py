"""What run.py does: train, evaluate, sweep, reproduce, pipeline."""
