"""Names shared by the two sides of an audit, this process and its workers."""

SCORER = "REWARD_AUDIT_SCORER"
"""The environment variable that tells a worker which scorer to call, as JSON {"spec", "first"}: `first` are arguments
of warm-up calls that do not count, which may load and start what later calls use."""

VERL = "verl:"
"""Prefix of verl's own scorers."""

CANARY = "uftcanary"
"""Part of the path or name that a payload would touch if it were executed."""
