"""Custom sources: programs of an installation's own that bring in conversations; see spec.py and source.py."""
