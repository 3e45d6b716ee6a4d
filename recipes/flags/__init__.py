"""From the command line or a file to an Experiment; --help."""
