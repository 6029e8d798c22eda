"""Airy: a self-hosted messaging platform."""

__version__ = "0.1.0"
