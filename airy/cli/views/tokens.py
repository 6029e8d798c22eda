"""API tokens."""

from airy.cli.view import Document, Field, View, seconds
from airy.http.response_schemas import ApiTokenSchema, CreatedApiTokenSchema


def _scope(token: Document) -> str:
    permissions = ",".join(token["permissions"])
    return f"{token['role']}:{permissions}" if token["role"] and permissions else token["role"] or permissions


FIELDS = (
    Field("ID", "id"),
    Field("NAME", "name", chars_max=40),
    Field("SCOPE", _scope),
    Field("STATE", lambda row: "revoked" if row["revoked_at"] else "valid", styles={"revoked": "red"}),
    Field("EXPIRES", seconds("expires_at")),
    Field("CREATED BY", "created_by", chars_max=40, spare=True),
)
TOKENS = View(name="tokens", row=ApiTokenSchema, fields=FIELDS, what="API tokens", order=lambda row: row["created_at"])
TOKEN = View(name="token", row=ApiTokenSchema, fields=FIELDS, one=True)
CREATED_TOKEN = View(
    name="created-token", row=CreatedApiTokenSchema, fields=(*FIELDS, Field("TOKEN", "token")), one=True
)
