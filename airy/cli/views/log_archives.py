"""Archives of the log, folds of it, and their comparison."""

from airy.app.log_transfer.commands import ArchiveComparison
from airy.app.log_transfer.exporter import ArchiveSummary
from airy.app.log_transfer.fold_digest import FoldDigest
from airy.cli.view import Document, Field, View


def _fold(row: Document) -> str:
    unreadable = f", {row['unreadable']} unreadable" if row["unreadable"] else ""
    counts = ", ".join(f"{row[name]} {name}" for name in ("conversations", "messages", "changes"))
    return f"{counts}{unreadable}; digest {row['digest']}"


ARCHIVE = View(
    name="log-archive",
    row=ArchiveSummary,
    fields=(Field("RECORDS", "records"), Field("GROUP POSITIONS", "places"), Field("SHA-256", "sha256")),
    one=True,
)
FOLD = View(
    name="log-digest",
    row=FoldDigest,
    fields=(
        Field("DIGEST", "digest"),
        Field("CONVERSATIONS", "conversations"),
        Field("MESSAGES", "messages"),
        Field("CHANGES", "changes"),
        Field("UNREADABLE", "unreadable"),
    ),
    one=True,
)
COMPARISON = View(
    name="log-comparison",
    row=ArchiveComparison,
    fields=(
        Field("SAME", "same", styles={"no": "red"}),
        Field("LOG", lambda row: _fold(row["log"])),
        Field("ARCHIVE", lambda row: _fold(row["archive"])),
    ),
    one=True,
)
