"""Canonical content: what a caller may send in it, and how it is written."""

import msgspec
import pytest

from airy.errors import Refused
from airy.sources import canonical
from airy.sources.canonical import Button, CarouselCard, CarouselContent, ChoiceContent, Content, Contents, TextContent


def test_content_in_a_providers_own_shape_is_not_canonical() -> None:
    assert [canonical.outbound(given) for given in (None, 5, "x", [], {}, {"text": "x"}, {"canonical": None})] == [
        None
    ] * 7


def test_one_content_alone_or_in_a_list() -> None:
    assert canonical.outbound({"canonical": {"type": "text", "text": "x"}}) == TextContent(text="x")
    assert canonical.outbound({"canonical": [{"type": "text", "text": "x"}]}) == TextContent(text="x")


@pytest.mark.parametrize(
    ("given", "said", "path"),
    [
        ([], "canonical: ", ""),
        ({"text": "x"}, "missing required field `type`", ""),
        ({"type": "hologram"}, "invalid value 'hologram'", ".type"),
        (
            {"type": "choice", "text": "x", "options": [{"payload": "X"}]},
            "missing required field `title`",
            ".options[0]",
        ),
        ({"type": "raw"}, "type raw cannot be sent", ""),
        ({"type": "postback", "payload": "X"}, "type postback cannot be sent", ""),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(given: object, said: str, path: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        canonical.outbound({"canonical": given})
    assert refused.value.field == f"canonical{path}"


def test_contents_survive_being_written() -> None:
    contents: Contents = (
        TextContent(text="Grüße"),
        ChoiceContent(text="Which?", options=(Button(title="Red", payload="RED"),)),
        CarouselContent(
            cards=(CarouselCard(title="Rye", buttons=(Button(title="More", kind="url", payload="https://x"),)),)
        ),
    )
    written = msgspec.json.encode(contents)
    assert msgspec.json.decode(written, type=tuple[Content, ...]) == contents
    assert b"null" not in written
