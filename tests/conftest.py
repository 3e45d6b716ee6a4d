"""Settings of all tests."""

import os

from hypothesis import settings

# Machines are shared and slow at times; what a property says does not depend on how long it takes.
settings.register_profile("unhurried", deadline=None, derandomize=True, print_blob=True)
# The same examples every time make a red test mean a change. To look for new ones: HYPOTHESIS_PROFILE=explore.
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unhurried"))
