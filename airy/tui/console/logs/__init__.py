"""Logs: the log lines of every process."""
