"""MATH, levels 3 to 5."""
