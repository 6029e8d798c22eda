"""How text is cut into words for the search in messages, and the text of a message."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec import Raw, json

from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.model.message_text import TEXT_CHARS_MAX, message_text
from airy.store.search_words import WORD_CHARS_MAX, Phrase, holds, phrase, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Is the RYE bread back?", "is the rye bread back"),
        ("don't e-mail ada@example.org", "don t e mail ada example org"),
        ("+49 (30) 123-45", "49 30 123 45"),
        ("Straße STRASSE", "strasse strasse"),
        ("Café CAFE\u0301 İstanbul", "cafe cafe istanbul"),
        ("ﬁne ①", "fine 1"),
        ("你好 ご飯", "你 好 こ \u3099 飯"),
        ("हिन्दी", "हिन्दी"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zero width"),
        ("late 👍🏽!", "late 👍"),
        ("… -- !?", ""),
        ("a\x00b\ud800c", "a b c"),
        ("x" * 100, "x" * WORD_CHARS_MAX),
    ],
)
def test_text_is_cut_into_words_without_case_and_diacritics(text: str, words: str) -> None:
    assert words_of(text) == words.split()


@given(st.text())
def test_words_are_words_of_themselves(text: str) -> None:
    """Otherwise what is copied out of a message would not be found."""
    for word in words_of(text):
        assert " " not in word
        assert words_of(word)[:1] == [word]


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
def test_a_phrase_is_a_part_of_the_text(text: list[str], wanted: list[str]) -> None:
    assert holds(Phrase(tuple(wanted)), text) == (f" {' '.join(wanted)} " in f" {' '.join(text)} ")


def test_a_prefix_is_the_beginning_of_the_last_word() -> None:
    assert holds(phrase("the del", prefix=True), words_of("Where is the delivery?"))
    assert not holds(phrase("the livery", prefix=True), words_of("Where is the delivery?"))
    assert phrase("foo-", prefix=True) == Phrase(("foo",))


def message(content: object, canonical: object = None, *, deleted: bool = False) -> Message:
    return Message(
        id="m",
        conversation_id="c",
        channel_id="d",
        source="facebook",
        sequence=1,
        content=Raw(json.encode(content)),
        canonical=Raw(json.encode(canonical)),
        from_contact=True,
        sender_id="s",
        sent_at_ms=1,
        updated_at_ms=1,
        delivery=DeliveryState.DELIVERED,
        deleted=deleted,
    )


@pytest.mark.parametrize(
    ("content", "canonical", "text"),
    [
        ({"message": {"mid": "m_1", "text": "raw"}}, [{"type": "text", "text": "said"}], "said"),
        ({"message": {"mid": "m_1", "text": "raw"}}, None, "raw"),
        ("plain", None, "plain"),
        (
            {},
            [
                {"type": "media", "kind": "image", "url": "https://a.example/b.png", "caption": "the parcel"},
                {"type": "location", "latitude": 1.0, "longitude": 2.0, "name": "Shop", "address": "Main Street 1"},
                {"type": "choice", "text": "Which?", "options": [{"title": "Rye", "payload": "SECRET_1"}]},
                {"type": "contacts", "contacts": [{"name": "Ada", "phones": ["+1 2"], "emails": ["a@b.example"]}]},
            ],
            "the parcel\nShop\nMain Street 1\nWhich?\nRye\nAda\n+1 2\na@b.example",
        ),
        ({"Body": "by text message", "From": "+1"}, [{"type": "raw"}], "by text message"),
        ({"attachment": {"payload": {"elements": [{"title": "T", "subtitle": "S", "url": "u"}]}}}, None, "T\nS"),
        ({"text": {"body": "nested"}, "id": "x"}, None, "nested"),
        ({"text": 7}, None, ""),
        (None, None, ""),
    ],
)
def test_the_text_of_a_message_is_what_a_person_reads(content: object, canonical: object, text: str) -> None:
    assert message_text(message(content, canonical)) == text


def test_a_deleted_message_has_no_text_and_a_long_one_is_cut() -> None:
    assert message_text(message({"text": "gone"}, deleted=True)) == ""
    assert len(message_text(message({"text": "x" * 100_000}))) == TEXT_CHARS_MAX
    deep: object = {"text": "deep"}
    for _ in range(100):
        deep = {"inner": deep}
    assert message_text(message(deep)) == ""
