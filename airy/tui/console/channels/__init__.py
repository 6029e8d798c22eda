"""Channels: connected accounts, their health, and a form that connects others."""
