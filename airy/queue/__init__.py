"""The webhook queue: the port (`api`) and its backends (`sqlite`, `redis`)."""
