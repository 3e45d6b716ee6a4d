"""The verl this plugin was written against; a clear word when another one is installed."""

from importlib.metadata import version

TESTED = ("0.9.1",)


def check_verl_version() -> None:
    """Raise RuntimeError when the installed verl was never tested with this plugin."""
    found = version("verl")
    if found not in TESTED:
        raise RuntimeError(
            f"verl {found} is installed; this repository hooks into verl {' or '.join(TESTED)}. "
            f"Run ./install.sh, or run `pytest tests/contract` to see whether the hooks still fit."
        )
