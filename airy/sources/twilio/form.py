"""Form bodies as Twilio posts them, and what the fields of one say about its channel."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from airy.errors import Undecodable
from airy.sources import payload

FIELDS_MAX = 512
WHATSAPP = "whatsapp:"

Pairs = Sequence[tuple[str, str]]


def pairs(body: bytes, *, errors: str = "replace") -> Pairs:
    """Names and values in order, empty values too; `errors` is for values that are not UTF-8. Raises `Undecodable`."""
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors=errors,
            max_num_fields=FIELDS_MAX,
        )
    except ValueError as error:
        raise Undecodable("the body is not a form") from error


def kind_of(address: str) -> str:
    return "twilio.whatsapp" if address.startswith(WHATSAPP) else "twilio.sms"


def is_inbound(fields: Mapping[str, str]) -> bool:
    """A message of a contact; everything else is a status callback of one of ours."""
    return fields.get("SmsStatus", "received") == "received" and "MessageStatus" not in fields


def contact_names(fields: Mapping[str, str]) -> tuple[str, ...]:
    """What the contact is called: the address Twilio uses, and WhatsApp's id beside it while the number is shared."""
    given = (fields.get("From"), fields.get("ExternalUserId")) if is_inbound(fields) else (fields.get("To"),)
    return tuple(dict.fromkeys(name for each in given if (name := payload.text(each)) is not None))


def own_address(fields: Mapping[str, str]) -> str:
    """The channel's side of a message: where a contact wrote to, or where ours came from."""
    return fields.get("To" if is_inbound(fields) else "From", "")
