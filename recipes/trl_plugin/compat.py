"""The TRL version this plugin supports, and a clear error if another one is installed."""

from importlib.metadata import version

TESTED = ("1.12.0",)


def check_trl_version() -> None:
    """Raise RuntimeError if the installed trl is untested with this plugin."""
    found = version("trl")
    if found not in TESTED:
        raise RuntimeError(
            f"trl {found} is installed; this repository hooks into trl {' or '.join(TESTED)}. "
            f"Run ./install.sh, or `pytest tests/contract/test_trl_hooks.py` to check whether the hooks still work."
        )
