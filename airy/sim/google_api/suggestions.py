"""Contents that Business Messages and RCS have in common: suggestions, and rich cards with their limits."""

from collections.abc import Mapping
from typing import Any

from airy.sim.provider.acts import PersonAct, Presses
from airy.sim.provider.api import record, records

CARD_SUGGESTIONS_MAX = 4
CARDS_MIN, CARDS_MAX = 2, 10
LABEL_CHARACTERS_MAX = 25
POSTBACK_CHARACTERS_MAX = 2_048


def cards(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    rich = record(content.get("richCard"))
    alone = record(record(rich.get("standaloneCard")).get("cardContent"))
    return [*([alone] if alone else []), *records(record(rich.get("carouselCard")).get("cardContents"))]


def offered(content: Mapping[str, Any]) -> tuple[PersonAct, ...]:
    given = [
        *records(content.get("suggestions")),
        *(s for card in cards(content) for s in records(card.get("suggestions"))),
    ]
    return tuple(Presses(str(told.get("text", "")), str(told.get("postbackData", ""))) for told in map(_told, given))


def problem(content: Mapping[str, Any], suggestions_max: int) -> str | None:
    """The first thing about suggestions and cards that is wrong."""
    carousel = record(content.get("richCard")).get("carouselCard")
    if carousel is not None and not CARDS_MIN <= len(cards(content)) <= CARDS_MAX:
        return f"A carousel must have {CARDS_MIN} to {CARDS_MAX} cards."
    if any(not card.get("title") and not card.get("description") and not card.get("media") for card in cards(content)):
        return "A card must have a title, a description or media."
    lists = [(content, suggestions_max), *((card, CARD_SUGGESTIONS_MAX) for card in cards(content))]
    return next(filter(None, (_problem(records(each.get("suggestions")), most) for each, most in lists)), None)


def _problem(given: list[dict[str, Any]], suggestions_max: int) -> str | None:
    if len(given) > suggestions_max:
        return f"There are {len(given)} suggestions and {suggestions_max} are allowed."
    for told in map(_told, given):
        text, data = told.get("text"), told.get("postbackData")
        if not text or not isinstance(text, str) or len(text) > LABEL_CHARACTERS_MAX:
            return f"The text of a suggestion must have 1 to {LABEL_CHARACTERS_MAX} characters."
        if not data or not isinstance(data, str) or len(data) > POSTBACK_CHARACTERS_MAX:
            return f"postbackData of a suggestion must have 1 to {POSTBACK_CHARACTERS_MAX} characters."
    return None


def _told(suggestion: Mapping[str, Any]) -> dict[str, Any]:
    return record(suggestion.get("reply")) or record(suggestion.get("action"))
