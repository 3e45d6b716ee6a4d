"""The TRL this plugin was written against; a clear word when another one is installed."""

from importlib.metadata import version

TESTED = ("1.12.0",)


def check_trl_version() -> None:
    """Raise RuntimeError when the installed trl was never tested with this plugin."""
    found = version("trl")
    if found not in TESTED:
        raise RuntimeError(
            f"trl {found} is installed; this repository hooks into trl {' or '.join(TESTED)}. "
            f"Run ./install.sh, or run `pytest tests/contract/test_trl_hooks.py` to see whether the hooks still fit."
        )
