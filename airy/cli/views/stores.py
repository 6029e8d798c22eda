"""Stores: compared with the fold of the log, or built from it."""

from airy.app.verify import FoldedStore
from airy.cli.view import Field, View

DIGEST_CHARS = 16

STORES = View(
    name="stores",
    row=FoldedStore,
    fields=(
        Field("NAME", "name"),
        Field("RESULT", "result", styles={"different": "red", "same": "green"}),
        Field("CONVERSATIONS", "conversations", align="right"),
        Field("MESSAGES", "messages", align="right"),
        Field("CHANNELS", "channels", align="right"),
        Field("DIGEST", lambda row: (row["digest"] or "")[:DIGEST_CHARS]),
    ),
    what="stores",
)
