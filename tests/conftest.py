"""Settings of all tests."""

from hypothesis import settings

# Machines are shared and slow at times; what a property says does not depend on how long it takes.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
