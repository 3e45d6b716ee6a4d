"""From words of the command line or a file to an Experiment, and what --help says."""
