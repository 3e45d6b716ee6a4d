"""The watchdog: starts a run, shows its progress, ends it if it hangs, and reports why. Imports no trainer."""
