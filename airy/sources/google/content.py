"""Business Messages' events and canonical content, both ways. Pure."""

import re
from collections.abc import Mapping, Sequence

from airy.errors import Refused
from airy.sources import canonical, payload
from airy.sources.canonical import Button, CardContent, CarouselCard, CarouselContent, Content, Contents, MediaContent

SUGGESTIONS_MAX = 13
CARD_SUGGESTIONS_MAX = 4
CARDS_MIN, CARDS_MAX = 2, 10

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
            return {"text": text, "fallback": shown, "suggestions": _suggestions(options, SUGGESTIONS_MAX)}
        case CardContent():
            return {"richCard": {"standaloneCard": {"cardContent": _card(content)}}, "fallback": _said([content])}
        case CarouselContent(cards=cards):
            if not CARDS_MIN <= len(cards) <= CARDS_MAX:
                raise Refused(f"google takes a carousel of {CARDS_MIN} to {CARDS_MAX} cards", field="canonical")
            carousel = {"cardWidth": "MEDIUM", "cardContents": [_card(card) for card in cards]}
            return {"richCard": {"carouselCard": carousel}, "fallback": _said(cards)}
    raise canonical.unsupported(content, "google")


def _said(cards: Sequence[CardContent | CarouselCard]) -> str:
    """What is shown where there are no cards."""
    return "\n".join(part for card in cards for part in (card.title, card.subtitle, card.url) if part)


def _card(card: CardContent | CarouselCard) -> Fields:
    """A card leads nowhere by itself: its address becomes the first suggestion."""
    link = [Button(title=card.title, payload=card.url, kind="url")] if card.url else []
    suggestions = _suggestions([*link, *card.buttons], CARD_SUGGESTIONS_MAX)
    return {
        "title": card.title,
        **({"description": card.subtitle} if card.subtitle else {}),
        **({"media": {"height": "MEDIUM", "contentInfo": {"fileUrl": card.image}}} if card.image else {}),
        **({"suggestions": suggestions} if suggestions else {}),
    }


def _suggestions(buttons: Sequence[Button], suggestions_max: int) -> list[Fields]:
    if len(buttons) > suggestions_max:
        raise Refused(f"{len(buttons)} buttons are given and google takes {suggestions_max}", field="canonical")
    return [_suggestion(button) for button in buttons]


def _suggestion(button: Button) -> Fields:
    told = button.payload or button.title
    if button.kind == "url":
        return {"action": {"text": button.title, "postbackData": told, "openUrlAction": {"url": told}}}
    if button.kind == "call":
        return {"action": {"text": button.title, "postbackData": told, "dialAction": {"phoneNumber": told}}}
    return {"reply": {"text": button.title, "postbackData": told}}
