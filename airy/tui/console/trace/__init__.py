"""Trace: what happened to one message, hop by hop."""
