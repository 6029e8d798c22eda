"""Uploaded files: names, types, signed addresses, and the port to object storage."""
