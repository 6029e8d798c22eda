"""Tags."""

from airy.cli.view import Field, View
from airy.http.response_schemas import TagSchema

FIELDS = (Field("ID", "id"), Field("COLOR", lambda row: row["color"].removeprefix("tag-")), Field("NAME", "name"))
TAGS = View(
    name="tags", row=TagSchema, fields=FIELDS, what="tags", order=lambda row: (row["name"].casefold(), row["id"])
)
TAG = View(name="tag", row=TagSchema, fields=FIELDS, one=True)
