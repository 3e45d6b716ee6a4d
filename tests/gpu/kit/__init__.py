"""What a GPU machine without a network needs: the missing packages in parts, and the runs of a first hour."""
