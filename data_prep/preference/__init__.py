"""Data of alignment: completions of a prompt with what is known of them (better, good or bad, a score), instructions.
One row format (schema.py), views of it (views.py); from users' files, from the hub, or made with known scores."""
