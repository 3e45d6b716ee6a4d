"""The verl version this plugin supports, and a clear error if another one is installed."""

from importlib.metadata import version

TESTED = ("0.9.1",)


def check_verl_version() -> None:
    """Raise RuntimeError if the installed verl is untested with this plugin."""
    found = version("verl")
    if found not in TESTED:
        raise RuntimeError(
            f"verl {found} is installed; this repository hooks into verl {' or '.join(TESTED)}. "
            f"Run ./install.sh, or `pytest tests/contract` to check whether the hooks still work."
        )
