"""The watchdog of a run: starts it, shows it, judges it, ends it, and says why. Imports no trainer."""
