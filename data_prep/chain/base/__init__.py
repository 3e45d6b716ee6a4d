"""Builds the embedded chain bases, which know a rule by halves: `python -m data_prep.chain.base --help`."""
