"""What to know of a reward before training on it: `python -m reward_fns audit NAME | FILE:FUNCTION | verl:NAME`."""

from reward_fns.audit.checks import Finding, Report, audit, describe

__all__ = ["Finding", "Report", "audit", "describe"]
