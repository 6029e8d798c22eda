"""What a person does in their app. A provider turns an act into the events of its webhooks, or refuses it by name."""

from typing import Literal

from msgspec import Struct, field

MediaKind = Literal["image", "video", "audio", "voice", "file", "sticker"]


class PersonAct(Struct, frozen=True, tag_field="type"):
    pass


class Says(PersonAct, frozen=True, tag="says"):
    """`payload`: of the offered reply that was tapped. `extra`: further fields in the provider's own shape."""

    text: str
    payload: str | None = None
    reply_to: str | None = None
    extra: dict[str, object] = field(default_factory=dict)


class SendsMedia(PersonAct, frozen=True, tag="sends_media"):
    """Without `url` the provider serves a small file of that kind."""

    kind: MediaKind = "image"
    url: str | None = None
    caption: str | None = None


class SharesLocation(PersonAct, frozen=True, tag="shares_location"):
    latitude: float
    longitude: float
    name: str | None = None


class Presses(PersonAct, frozen=True, tag="presses"):
    """A button of the message `below`."""

    title: str
    payload: str
    below: str | None = None
    extra: dict[str, object] = field(default_factory=dict)


class Starts(PersonAct, frozen=True, tag="starts"):
    """Opens the conversation by a link with a reference, where the provider reports that."""

    reference: str = ""


class Reacts(PersonAct, frozen=True, tag="reacts"):
    """To `message_id`, or to the last message of the account. `emoji` None removes the reaction."""

    emoji: str | None
    message_id: str | None = None


class Reads(PersonAct, frozen=True, tag="reads"):
    pass


class Types(PersonAct, frozen=True, tag="types"):
    """Begins to write."""


class Edits(PersonAct, frozen=True, tag="edits"):
    message_id: str
    text: str
    revision: int = 1


class Unsends(PersonAct, frozen=True, tag="unsends"):
    message_id: str


class Blocks(PersonAct, frozen=True, tag="blocks"):
    """The account can no longer write to this person."""


class Returns(PersonAct, frozen=True, tag="returns"):
    """Ends a block."""


class Leaves(PersonAct, frozen=True, tag="leaves"):
    """A customer's topic is done. Nothing is sent."""


Act = (
    Says | SendsMedia | SharesLocation | Presses | Starts | Reacts | Reads | Types | Edits | Unsends | Blocks | Returns
)

WRITING = (Says, SendsMedia, SharesLocation, Presses)  # these open the messaging window


def shown(act: PersonAct) -> str:
    """A writing act as one line of a transcript."""
    match act:
        case Says(text):
            return text
        case SendsMedia(kind, _, caption):
            return f"[{kind}]" + (f" {caption}" if caption else "")
        case SharesLocation(latitude, longitude):
            return f"[{latitude}, {longitude}]"
        case Presses(title):
            return f"[{title}]"
    return ""
