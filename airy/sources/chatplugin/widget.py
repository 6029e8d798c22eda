"""What a channel of the chat plugin is configured with: how its widget looks, and which websites may embed it.

Both are metadata of the channel, so they are in the log, in every answer about the channel, and unsealed: the widget's
configuration is public. Keys and their meaning are those of the original's widget.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from airy.errors import Refused
from airy.model.entity import Channel

CONFIG = "config"
ALLOWED_ORIGINS = "allowed_origins"

CONFIG_BYTES_MAX = 16_384
ORIGINS_MAX = 100
ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")

Words = Annotated[str, Meta(max_length=1_000)]
Color = Annotated[str, Meta(max_length=64, pattern=r"^[#a-zA-Z0-9(),.% /-]+$", extra={"expected": "a CSS colour"})]
WebUrl = Annotated[str, Meta(max_length=2_048, pattern=r"^https?://[^\s/?#]+")]
Pixels = Annotated[int, Meta(ge=200, le=10_000)]
Flag = bool | UnsetType


class WidgetConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Every key is optional; the widget has its own defaults."""

    welcome_message: dict[str, Any] | UnsetType = UNSET  # a message content
    header_text: Words | UnsetType = UNSET
    subtitle_text: Words | UnsetType = UNSET
    start_new_conversation_text: Words | UnsetType = UNSET
    header_text_color: Color | UnsetType = UNSET
    subtitle_text_color: Color | UnsetType = UNSET
    primary_color: Color | UnsetType = UNSET
    accent_color: Color | UnsetType = UNSET
    background_color: Color | UnsetType = UNSET
    inbound_message_color: Color | UnsetType = UNSET
    inbound_message_text_color: Color | UnsetType = UNSET
    outbound_message_color: Color | UnsetType = UNSET
    outbound_message_text_color: Color | UnsetType = UNSET
    unread_message_dot_color: Color | UnsetType = UNSET
    bubble_icon: WebUrl | UnsetType = UNSET
    send_message_icon: WebUrl | UnsetType = UNSET
    height: Pixels | UnsetType = UNSET
    width: Pixels | UnsetType = UNSET
    disable_mobile: Flag = UNSET
    bubble_state: Literal["expanded", "minimized"] | UnsetType = UNSET
    close_mode: Literal["basic", "medium", "full"] | UnsetType = UNSET
    hide_input_bar: Flag = UNSET
    hide_emojis: Flag = UNSET
    hide_attachments: Flag = UNSET
    hide_images: Flag = UNSET
    hide_videos: Flag = UNSET
    hide_files: Flag = UNSET
    use_custom_font: Flag = UNSET
    custom_font: Words | UnsetType = UNSET
    show_mode: Flag = UNSET
    locale: Annotated[str, Meta(max_length=35, pattern=r"^[A-Za-z0-9-]+$")] | UnsetType = UNSET
    translations: dict[str, Words] | UnsetType = UNSET  # text of the widget, by its key


def widget_config(given: object) -> Raw:
    """The configuration as JSON. Flags and numbers may be text, as the original's snippets have them.

    Raises `Refused`, naming the key.
    """
    try:
        config = msgspec.convert(given, WidgetConfig, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise Refused(
            message[:1].lower() + message[1:], field=".".join(filter(None, (CONFIG, path.rstrip("`"))))
        ) from error
    text = msgspec.json.encode(config)
    if len(text) > CONFIG_BYTES_MAX:
        raise Refused(f"has {len(text)} bytes of JSON, and at most {CONFIG_BYTES_MAX} are kept", field=CONFIG)
    return Raw(text)


def origins(given: Sequence[str]) -> Raw:
    """Websites as a browser writes them in `Origin`. Raises `Refused`."""
    found = list(dict.fromkeys(each.strip().rstrip("/").lower() for each in given))
    for each in found:
        if not ORIGIN.fullmatch(each):
            raise Refused(
                f"{each[:100]!r} is no origin: give scheme and host, https://www.example.org", field=ALLOWED_ORIGINS
            )
    if len(found) > ORIGINS_MAX:
        raise Refused(f"at most {ORIGINS_MAX} origins", field=ALLOWED_ORIGINS)
    return Raw(msgspec.json.encode(found))


def config_of(channel: Channel) -> Raw:
    return channel.metadata.get(CONFIG, Raw(b"{}"))


def allows(channel: Channel, origin: str | None) -> bool:
    """Whether a page of this origin may embed the widget. None: one that is allowed everywhere, or a program."""
    allowed = channel.metadata.get(ALLOWED_ORIGINS)
    listed = msgspec.json.decode(allowed, type=list[str]) if allowed is not None else []
    return origin is None or not listed or origin in listed
