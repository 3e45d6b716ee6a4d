"""The files of a run: found, made, checked."""
