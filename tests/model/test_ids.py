"""Ids equal those of the original, by known vectors."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.model import ids

LONG = "98ce13ef-5469-4db3-af62-579be61cfaa4"
CHANNEL = "6f973ffe-278a-5633-ab33-c1b7e8e83f1d"


@pytest.mark.parametrize(
    ("namespace", "name", "expected"),
    [
        ("test", "test", "51abb963-6078-5efb-b888-d8457a7c76f8"),
        ("source", LONG, "e5fc97f1-2f2d-53c5-85c7-97a83b17e9ff"),
        ("source", LONG * 1_000_000, "2c2ab940-6393-5349-bd87-bb236a541827"),
        (
            "conversation:11111111-2222-5333-8444-555555555555",
            "contact.display_name",
            "193c0de9-f2e3-5c48-9aee-654d3e5637e4",
        ),
    ],
)
def test_known_vectors(namespace: str, name: str, expected: str) -> None:
    """LIB-1."""
    assert ids.derive(namespace, name) == expected


@pytest.mark.parametrize(
    ("source", "account", "user", "channel", "conversation"),
    [
        ("facebook", "204918377001", "6120000000000001", CHANNEL, "cf154b30-934f-5b40-be6b-6f0a6a8b9d32"),
        (
            "whatsapp",
            "108811223344556",
            "4915112345678",
            "226db244-7a7e-5a95-ad2d-98002d109fe3",
            "10d03bb3-b767-5012-95ed-485707887422",
        ),
        (
            "twilio.sms",
            "+4930901820",
            "+4915112345678",
            "e0956c1e-113c-53a3-9e5c-ff4b897e11ed",
            "053af38d-3e5d-556f-9be6-ad8ba5ff5b10",
        ),
    ],
)
def test_channels_and_conversations_keep_their_ids(
    source: str, account: str, user: str, channel: str, conversation: str
) -> None:
    assert ids.channel_id(source, account) == channel
    assert ids.conversation_id(channel, user) == conversation


def test_a_message_id_derives_from_the_provider_id() -> None:
    assert ids.message_id(CHANNEL, "m_AbC-001") == "204dbadf-3875-5fa5-8c20-279c22b79554"


@given(st.text(), st.text())
def test_every_id_is_a_canonical_version_5_uuid(namespace: str, name: str) -> None:
    made = ids.derive(namespace, name)
    assert made == str(UUID(made))
    assert (UUID(made).version, UUID(made).variant) == (5, RFC_4122)
    assert ids.canonical_uuid(made.upper()) == made


def test_change_ids_differ_by_conversation_fact_and_index() -> None:
    made = {ids.change_id(conversation, fact, nth) for conversation in "ab" for fact in ("1", "11") for nth in (0, 1)}
    assert len(made) == 8


@pytest.mark.parametrize(
    "text", ["", "6f973ffe", "6f973ffe278a5633ab33c1b7e8e83f1d", "g" * 36, "{" + CHANNEL[:34] + "}"]
)
def test_text_that_is_not_a_uuid_is_refused(text: str) -> None:
    assert ids.canonical_uuid(text) is None
