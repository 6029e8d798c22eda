"""What the OpenAPI document says of a route that is no action: a value in its `opt`, beside its permission."""

from collections.abc import Mapping

from msgspec import Struct

DESCRIPTION = "description"  # the key of a route's `opt`

JSON_TYPE = "application/json"
NO_CONTENT = ""  # the media type of a response without a body


class RouteDescription(Struct, frozen=True, kw_only=True):
    """`responses`: text and media type of each success or redirect. `errors`: statuses of problems.

    `query`: parameters and what they mean. The summary is the first sentence of the handler's docstring.
    """

    tag: str
    responses: Mapping[int, tuple[str, str]]
    errors: tuple[int, ...] = ()
    query: Mapping[str, str] = {}


UNDESCRIBED = RouteDescription(tag="schema", responses={200: ("The document.", JSON_TYPE)})
"""Of a route without a description: it serves a document."""
