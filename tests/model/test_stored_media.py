"""Addresses and ids of stored files in the content of a message."""

import msgspec
import pytest

from airy.model import stored_media
from tests.kit.builders import raw

URL, OURS = "https://cdn.example.net/a", "https://inbox.example.net/media/1.png?signature=x"
FLAT = {f"data_{URL}": raw(OURS), "data_4711": raw(OURS), "user_data.a": raw(1)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, OURS),
        (f"see {URL}.", f"see {OURS}."),
        (f"{URL}, and {URL}", f"{OURS}, and {OURS}"),
        (f"{URL}/b", f"{URL}/b"),
        (f"{URL}.png", f"{URL}.png"),
        (f"{URL}?size=2", f"{URL}?size=2"),
        ("call 4711", "call 4711"),
    ],
)
def test_an_address_is_replaced_where_all_of_it_is_and_an_id_is_not(text: str, shown: str) -> None:
    assert msgspec.json.decode(stored_media.replaced(raw({"text": text}), FLAT)) == {"text": shown}


def test_a_media_id_gains_its_address_in_canonical_content() -> None:
    given = [
        {"type": "media", "media_id": "4711", "url": "https://expires.example.net"},
        {"type": "media", "media_id": "4712"},
        {"type": "text", "text": "4711"},
    ]
    found = msgspec.json.decode(stored_media.located(raw(given), FLAT))
    assert found == [{**given[0], "url": OURS}, *given[1:]]


def test_content_that_is_no_list_is_left_alone() -> None:
    assert stored_media.located(raw({"a": 1}), FLAT) == raw({"a": 1})


def test_clients_do_not_see_the_keys() -> None:
    assert list(stored_media.shown(FLAT)) == ["user_data.a"]
