"""What workers judge mathematics with: importing it loads the library, which takes a second, before any verdict."""

from reward_fns.math import symbolic
from reward_fns.math.equal import equivalent

__all__ = ["equivalent", "symbolic"]
