"""Memory and time, before anything starts."""
