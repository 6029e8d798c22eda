"""Keyboards and rich media: grids of buttons six columns wide, in which a card is up to seven rows. Pure."""

from collections.abc import Sequence
from html import escape

from airy.errors import Refused
from airy.sources.canonical import Button, CardContent, CarouselCard

COLUMNS = 6
ROWS_MAX = 7
TEXT_ROWS = 2
IMAGE_ROWS_MAX = 3
RICH_MEDIA_API_VERSION = 7  # of the contact's app
ALTERNATIVE_CHARACTERS_MAX = 1_000

Grid = dict[str, object]


def keyboard(options: Sequence[Button]) -> Grid:
    return {"Type": "keyboard", "DefaultHeight": False, "Buttons": [_button(each) for each in options]}


def is_silent(button: Button) -> bool:
    return button.kind == "reply" and (button.payload or button.title) != button.title


def rich_media(cards: Sequence[CardContent | CarouselCard]) -> Grid:
    """All cards have the rows of the highest; in a lower one the text takes what is left. Raises `Refused`."""
    buttons_count = max(len(card.buttons) for card in cards)
    pictured = any(card.image for card in cards)
    buttons_max = ROWS_MAX - TEXT_ROWS - (1 if pictured else 0)
    if buttons_count > buttons_max:
        message = f"a card has {buttons_count} buttons, and viber has rows for {buttons_max}"
        raise Refused(message, field="canonical")
    image_rows = min(IMAGE_ROWS_MAX, ROWS_MAX - TEXT_ROWS - buttons_count) if pictured else 0
    rows = image_rows + TEXT_ROWS + buttons_count
    grid = [part for card in cards for part in _card(card, image_rows, rows)]
    return {
        "type": "rich_media",
        "min_api_version": RICH_MEDIA_API_VERSION,
        "alt_text": "\n".join(card.title for card in cards)[:ALTERNATIVE_CHARACTERS_MAX],
        "rich_media": {
            "Type": "rich_media",
            "ButtonsGroupColumns": COLUMNS,
            "ButtonsGroupRows": rows,
            "BgColor": "#FFFFFF",
            "Buttons": grid,
        },
    }


def _card(card: CardContent | CarouselCard, image_rows: int, rows: int) -> list[Grid]:
    leads = {"ActionType": "open-url", "ActionBody": card.url} if card.url else {"ActionType": "none", "ActionBody": ""}
    picture: list[Grid] = []
    if card.image:
        picture = [{"Columns": COLUMNS, "Rows": image_rows, **leads, "Image": card.image}]
    text_rows = rows - (image_rows if card.image else 0) - len(card.buttons)
    title = f"<b>{escape(card.title)}</b>"
    text = f"{title}<br>{escape(card.subtitle)}" if card.subtitle else title
    shown = {"Text": text, "TextHAlign": "left", "TextVAlign": "middle", "TextSize": "regular"}
    return [*picture, {"Columns": COLUMNS, "Rows": text_rows, **leads, **shown}, *map(_button, card.buttons)]


def _button(button: Button) -> Grid:
    """Raises `Refused`."""
    if button.kind == "call":
        raise Refused("viber has no buttons that call a number: send it as a contact", field="canonical")
    told = button.payload or button.title
    action = {"ActionType": "open-url" if button.kind == "url" else "reply", "ActionBody": told}
    silent = {"Silent": True} if is_silent(button) else {}
    return {
        "Columns": COLUMNS,
        "Rows": 1,
        **action,
        **silent,
        "Text": escape(button.title),
        "TextSize": "regular",
    }
