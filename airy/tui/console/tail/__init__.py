"""Tail: every change as it happens."""
