"""What is refused or told before a start, own algorithm files included."""
