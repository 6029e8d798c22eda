"""Airy: a self-hosted messaging platform."""
