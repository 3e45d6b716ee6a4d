"""Files and data sets of others, read once for problems and preferences: rows of cells, and what a cell says."""
