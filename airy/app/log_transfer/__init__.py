"""`airy log …`: exports a log to a file and imports it elsewhere, to move an installation between backends.

The archive holds every topic with ids, order and timestamps, and the committed positions of consumer groups. It does
not hold offsets, which belong to a backend; stores and queues, which are rebuilt; or the sealing key, which the
operator copies.
"""

from airy.app.log_transfer.commands import check, digest, export, load

__all__ = ["check", "digest", "export", "load"]
