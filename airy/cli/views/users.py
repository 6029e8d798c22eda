"""The people who logged in or wrote."""

from airy.cli.view import Field, View, seconds
from airy.http.response_schemas import UserSchema

USERS = View(
    name="users",
    row=UserSchema,
    fields=(
        Field("ID", "id"),
        Field("NAME", "name", chars_max=30),
        Field("FIRST SEEN", seconds("first_seen_at")),
        Field("LAST SEEN", seconds("last_seen_at")),
    ),
    what="users",
)
