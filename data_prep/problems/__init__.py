"""A user's own problems: from cells of a file to rows of our format."""
