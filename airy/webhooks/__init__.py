"""Outbound webhooks without I/O: matching, signing, requests, retry decisions, endpoint health."""
