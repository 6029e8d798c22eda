"""Topics: partitions, offsets and lag, and the records in them."""
