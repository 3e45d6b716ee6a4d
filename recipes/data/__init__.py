"""The data files of a run: located, prepared, checked."""
