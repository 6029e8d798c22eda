"""Rich cards and suggestions: what is below a message, or in a card. Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from airy.errors import Refused
from airy.sources.canonical import Button, CardContent, CarouselCard, CarouselContent

CARD_SUGGESTIONS_MAX = 4
CARDS_MIN, CARDS_MAX = 2, 10
LABEL_CHARACTERS_MAX = 25  # of a suggestion

Fields = dict[str, object]


def rich_card(content: CardContent | CarouselContent) -> Fields:
    """Raises `Refused`."""
    if isinstance(content, CardContent):
        return standalone(_card(content))
    if not CARDS_MIN <= len(content.cards) <= CARDS_MAX:
        raise Refused(f"google takes a carousel of {CARDS_MIN} to {CARDS_MAX} cards", field="canonical")
    return {"carouselCard": {"cardWidth": "MEDIUM", "cardContents": [_card(card) for card in content.cards]}}


def standalone(card: Fields) -> Fields:
    return {"standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": card}}


def media(url: str) -> Fields:
    """Of a card."""
    return {"height": "MEDIUM", "contentInfo": {"fileUrl": url}}


def said(content: CardContent | CarouselContent) -> str:
    """What is shown where there are no cards."""
    cards = content.cards if isinstance(content, CarouselContent) else (content,)
    return "\n".join(part for card in cards for part in (card.title, card.subtitle, card.url) if part)


def suggestions(buttons: Sequence[Button], suggestions_max: int) -> list[Fields]:
    """Raises `Refused`."""
    if len(buttons) > suggestions_max:
        raise Refused(f"{len(buttons)} buttons are given and google takes {suggestions_max}", field="canonical")
    for button in buttons:
        if len(button.title) > LABEL_CHARACTERS_MAX:
            length = len(button.title)
            message = f"a button's title has {length} characters and google takes {LABEL_CHARACTERS_MAX}"
            raise Refused(message, field="canonical")
    return [_suggestion(button) for button in buttons]


def _card(card: CardContent | CarouselCard) -> Fields:
    """A card leads nowhere by itself: its address becomes the first suggestion, called like the card or its host."""
    link = []
    if card.url:
        label = card.title if len(card.title) <= LABEL_CHARACTERS_MAX else urlsplit(card.url).hostname or card.title
        link = [Button(title=label[:LABEL_CHARACTERS_MAX], payload=card.url, kind="url")]
    below = suggestions([*link, *card.buttons], CARD_SUGGESTIONS_MAX)
    return {
        "title": card.title,
        **({"description": card.subtitle} if card.subtitle else {}),
        **({"media": media(card.image)} if card.image else {}),
        **({"suggestions": below} if below else {}),
    }


def _suggestion(button: Button) -> Fields:
    told = button.payload or button.title
    if button.kind == "url":
        return {"action": {"text": button.title, "postbackData": told, "openUrlAction": {"url": told}}}
    if button.kind == "call":
        return {"action": {"text": button.title, "postbackData": told, "dialAction": {"phoneNumber": told}}}
    return {"reply": {"text": button.title, "postbackData": told}}
