"""Changing the configuration of a running process: what can be set, what a change means, and how it is applied."""
