"""What a worker judges mathematics by: with the library loaded, a second of computing that is no part of a verdict."""

from reward_fns.math import symbolic
from reward_fns.math.equal import equivalent

__all__ = ["equivalent", "symbolic"]
