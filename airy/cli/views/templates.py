"""Templates of messages."""

import json

from airy.cli.view import Document, Field, View
from airy.http.response_schemas import TemplateSchema


def _content(template: Document) -> str:
    return json.dumps(template["content"], ensure_ascii=False)


FIELDS = (Field("ID", "id"), Field("SOURCE", "source"), Field("NAME", "name", chars_max=40))
TEMPLATES = View(
    name="templates",
    row=TemplateSchema,
    fields=(*FIELDS, Field("CONTENT", _content, chars_max=60)),
    what="templates",
    order=lambda row: (row["name"].casefold(), row["id"]),
)
TEMPLATE = View(name="template", row=TemplateSchema, fields=(*FIELDS, Field("CONTENT", _content)), one=True)
