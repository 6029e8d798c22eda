"""Dead letters: records of the log that could not be processed."""
