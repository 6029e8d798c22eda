"""Business Messages' events and canonical content, both ways. Pure."""

import re
from collections.abc import Mapping

from airy.sources import canonical, payload
from airy.sources.canonical import CardContent, CarouselContent, Content, Contents, MediaContent
from airy.sources.google_api import cards

SUGGESTIONS_MAX = 13

_STORED_IMAGE = re.compile(r"https://storage\.googleapis\.com/\S+[?&](?:X-Goog-)?Signature=\S+", re.IGNORECASE)
Fields = dict[str, object]


def canonical_of(event: Mapping[str, object]) -> Contents:
    """The contents of an event."""
    tapped = payload.record(event.get("suggestionResponse"))
    survey = payload.record(event.get("surveyResponse"))
    signed_in = payload.record(event.get("authenticationResponse"))
    if tapped:
        title, told = payload.text(tapped.get("text")), payload.text(tapped.get("postbackData"))
        return (canonical.PostbackContent(title=title, payload=told),)
    if survey:
        title = payload.text(survey.get("questionResponseText")) or payload.identifier(survey.get("rating"))
        told = payload.text(survey.get("questionResponsePostbackData"))
        return (canonical.PostbackContent(title=title, payload=told),)
    if signed_in:
        return (canonical.SystemContent(description=_signed_in(signed_in)),)
    if payload.record(event.get("userStatus")).get("requestedLiveAgent") is True:
        return (canonical.SystemContent(description="The contact asked for a person."),)
    return _message(payload.record(event.get("message")))


def _message(message: Mapping[str, object]) -> Contents:
    """Images arrive as text: the signed address of a file."""
    text = payload.text(message.get("text"))
    if text is None:
        return (canonical.RawContent(kind="message"),)
    if _STORED_IMAGE.fullmatch(text):
        return (MediaContent(kind="image", url=text),)
    return (canonical.TextContent(text=text),)


def _signed_in(response: Mapping[str, object]) -> str:
    wrong = payload.record(response.get("errorDetails"))
    said = payload.text(wrong.get("errorDescription")) or payload.text(wrong.get("error"))
    return f"The contact could not sign in: {said}" if said else "The contact signed in."


# --- outbound


def fields_of(content: Content) -> Fields:
    """The fields of a message for a content. Raises `Refused`."""
    match content:
        case canonical.TextContent(text=text):
            return {"text": text}
        case MediaContent(kind="image", url=str(url)):
            described = {"altText": content.caption} if content.caption else {}
            return {"image": {"contentInfo": {"fileUrl": url, **described}}, "fallback": content.caption or url}
        case canonical.ChoiceContent(text=text, options=options):
            shown = "\n".join((text, *(each.title for each in options)))
            return {"text": text, "fallback": shown, "suggestions": cards.suggestions(options, SUGGESTIONS_MAX)}
        case CardContent() | CarouselContent():
            return {"richCard": cards.rich_card(content), "fallback": cards.said(content)}
    raise canonical.unsupported(content, "google")
