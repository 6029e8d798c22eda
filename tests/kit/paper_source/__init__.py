"""A source made for a test: a notice board that signs with a key. Only the catalogue knows it, and only in a process
that `run.py` starts.
"""
