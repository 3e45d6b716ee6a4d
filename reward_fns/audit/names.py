"""What the two sides of an audit, this process and its workers, call by the same name."""

SCORER = "REWARD_AUDIT_SCORER"
"""The environment variable that tells a worker which scorer it is to call, as JSON: {"spec", "first"}, the arguments of
first calls that do not count: they may load and start what later ones use."""

VERL = "verl:"
"""Begins the names of verl's own scorers."""

CANARY = "uftcanary"
"""In the path or name that a payload would touch if it were executed."""
