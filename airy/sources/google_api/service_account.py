"""Service accounts: identities of programs, with a private key, as Google issues them."""

from msgspec import Struct

from airy.errors import Refused
from airy.secret import Secret
from airy.sources import payload


class ServiceAccount(Struct, frozen=True):
    email: str
    key_id: str
    private_key: Secret  # PEM


def read(key: Secret) -> ServiceAccount:
    """Raises `Refused`, without quoting the key."""
    document = payload.object_of(key.reveal().encode(errors="replace"))
    if document is None:
        raise Refused("the key of the service account is no JSON object", field="service_account")
    email, private_key = payload.text(document.get("client_email")), payload.text(document.get("private_key"))
    if email is None or private_key is None:
        raise Refused("the service account's key lacks client_email or private_key", field="service_account")
    return ServiceAccount(email, payload.text(document.get("private_key_id")) or "", Secret(private_key))
