"""`airy log …`: a log as a file and back, so that a business starts on one machine and outgrows it (or returns).

What moves is the log: every topic with ids, order and times, and what consumer groups have dealt with. What does not:
offsets, which are a backend's own, stores and queues, which are built again, and the sealing key, which is the
operator's to copy.
"""

from airy.app.moving.commands import check, digest, export, load

__all__ = ["check", "digest", "export", "load"]
