"""The embedded countdown base: `python -m data_prep.tiny_base` builds it."""
