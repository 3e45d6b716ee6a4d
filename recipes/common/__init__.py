"""What everything else stands on: errors, checks of values, a run's folder and records."""
