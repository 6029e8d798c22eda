"""The filter language interpreted over the parsed tree: no SQL, no index, one conversation at a time."""

from msgspec import Raw, Struct, json

from airy.model.conversation import Conversation, Message
from airy.model.entity import Channel
from airy.model.message_text import message_text
from airy.model.metadata import text
from airy.model.render import default_contact_name
from airy.store import search_words
from airy.store.filter_fields import METADATA
from airy.store.filters import Clauses, Condition, MessagePhrase, NumberRange, Term
from airy.store.search_text import Pattern, literal_text, matches, normalized_keyword, normalized_words

NAME_KEY = "contact.display_name"


class FilteredConversation(Struct, frozen=True):
    """What a filter may refer to."""

    conversation: Conversation
    channel: Channel
    messages: list[Message] = []


def holds(condition: Condition, of: FilteredConversation) -> bool:
    match condition:
        case Clauses(must=must, should=should, must_not=must_not):
            wanted = all(holds(each, of) for each in must) if must else any(holds(each, of) for each in should)
            return wanted and not any(holds(each, of) for each in must_not)
        case NumberRange(field=field, low=low, high=high):
            number = _number(field, of.conversation)
            return (low is None or number >= low) and (high is None or number <= high)
        case MessagePhrase(phrase=phrase):
            said = (search_words.words_of(message_text(message)) for message in of.messages)
            return any(search_words.holds(phrase, words) for words in said)
        case Term():
            return _term_holds(condition, of)


def _term_holds(term: Term, of: FilteredConversation) -> bool:
    match term:
        case Term(field="display_name"):
            return _in_words(term, _name(of.conversation))
        case Term(field=field) if field.startswith(METADATA):
            return _in_words(term, _metadata_words(of.conversation.metadata.get(field.removeprefix(METADATA))))
        case Term(field="id", text="*") | Term(field="channel_id", text="*"):
            return True
        case Term(field=field, pattern=pattern):
            return any(matches(pattern, value) for value in _keywords(field, of))


def _number(field: str, conversation: Conversation) -> int:
    values = {
        "unread_count": conversation.unread_count,
        "created_at": conversation.created_at_ms,
        "last_message_at": conversation.last_message_at_ms,
    }
    return values[field]


def _keywords(field: str, of: FilteredConversation) -> list[str]:
    """The values of a field that is compared as a whole."""
    match field:
        case "id":
            return [of.conversation.id.lower()]
        case "channel_id":
            return [of.conversation.channel_id.lower()]
        case "source":
            return [of.channel.source.lower()]
        case "tag_ids":
            return [tag.lower() for tag in of.conversation.tags]
        case _:
            return [] if of.conversation.state is None else [normalized_keyword(of.conversation.state)]


def _name(conversation: Conversation) -> str:
    given = text(conversation.metadata, NAME_KEY)
    return normalized_words(default_contact_name(conversation) if given is None else given)


def _metadata_words(value: Raw | None) -> str:
    """A string without its quotes, any other value as JSON."""
    if value is None:
        return ""
    encoded = bytes(value)
    return normalized_words(json.decode(encoded, type=str) if encoded.startswith(b'"') else encoded.decode())


def _in_words(term: Term, words: str) -> bool:
    """`words` is a result of `normalized_words`. A pattern matches a word, or the whole value if it has a space."""
    if term.pattern == ((),):
        return False
    if term.text == "*":
        return words != ""
    literal = literal_text(term.pattern)
    if literal is not None:
        return f" {literal} " in words
    searched = _substring(term.pattern)
    if searched is not None:
        return searched in words
    candidates = [words.strip()] if " " in term.text else words.split()
    return any(matches(term.pattern, candidate) for candidate in candidates)


def _substring(pattern: Pattern) -> str | None:
    """What `word*`, `*word` or `*part*` looks for, also across words; None for other patterns."""
    if any(None in piece for piece in pattern):
        return None
    pieces = ["".join(character or "" for character in piece) for piece in pattern]
    match pieces:
        case [start, ""] if start:
            return f" {start}"
        case ["", end] if end:
            return f"{end} "
        case ["", middle, ""]:
            return middle
        case _:
            return None
