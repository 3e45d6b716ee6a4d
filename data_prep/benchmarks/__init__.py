"""Problems for evaluation only."""
