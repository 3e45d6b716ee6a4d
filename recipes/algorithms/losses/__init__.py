"""Losses and advantages as pure tensor functions: no verl, no TRL."""
