"""What a worker judges mathematics by: with the library loaded, a second of computing that is no part of a verdict."""

from reward_fns import math_symbolic
from reward_fns.math_equal import equivalent

__all__ = ["equivalent", "math_symbolic"]
