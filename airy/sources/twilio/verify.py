"""Is this request from Twilio? It signs the address it called and the form it sent.

HMAC-SHA1 with the account's auth token over the public URL and, for every distinct name in order, name and value of
each distinct value in order; base64. JSON bodies are signed by a hash in the query. A webhook rule signs the same text
with HMAC-SHA256 and a shared key instead. Twilio is not consistent about the port, so the URL counts with and without.
Whether it signs the fragment of the address, which never arrives here, is not documented: both count.

The secret depends on the account that the unverified form names; naming another account only changes which secret the
signature has to match. The secret that signed may become known at this moment, by a connect or another configuration:
Twilio is asked to come again, which it does for a 503 alone.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

from airy.errors import Undecodable
from airy.secret import Secret
from airy.sources.api import Accepted, Accounts, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.twilio import form
from airy.sources.twilio.spec import RETRIES, TwilioSection

HEADER = b"x-twilio-signature"
RULE_HEADER = b"x-twilio-webhooks-signature-settings"
MESSAGE_PARAMETER, ATTEMPT_PARAMETER, CONVERSATION_PARAMETER = "m", "a", "c"
"""Of the status callback's address: our message, its attempt and its conversation."""
KEPT = {  # as headers beside the body
    "message-id": MESSAGE_PARAMETER,
    "message-attempt": ATTEMPT_PARAMETER,
    "message-conversation": CONVERSATION_PARAMETER,
}
PORTS = {"https": 443, "http": 80}
TWIML = WebhookReply(body=b"<Response/>", content_type="text/xml; charset=utf-8")


def verify(section: TwilioSection, request: WebhookRequest, accounts: Accounts) -> Verdict:
    given = request.header(HEADER)
    if request.method != "POST":
        return Denied(405, "Twilio posts its events here")
    if not request.url.startswith(("https://", "http://")):
        return Denied(503, "the public address of this installation is not configured, and Twilio signs it")
    if not given:
        return Denied(401, "x-twilio-signature is missing")
    if len(given) > 1:
        return Denied(403, "x-twilio-signature is given more than once")
    try:
        pairs = _signed_pairs(request)
    except Undecodable as error:
        return Denied(403, f"the signature cannot be checked: {error}")
    return _compared(section, request, accounts, given[0].strip(), pairs)


def _compared(
    section: TwilioSection, request: WebhookRequest, accounts: Accounts, given: bytes, pairs: form.Pairs
) -> Verdict:
    fields = dict(pairs)
    keys = _keys(section, request, accounts, fields)
    if isinstance(keys, Denied):
        return keys
    algorithm, secrets = keys
    signed = [url + _joined(pairs) for url in _spellings(request.url)]
    known = [hmac.compare_digest(given, signature(secret, text, algorithm)) for secret in secrets for text in signed]
    if not any(known):
        return Denied(503, "the signature is not of this address and form with an auth token that is known here")
    account = form.own_address(fields).encode(errors="replace").decode()  # a key of the log is UTF-8
    return Accepted(account, headers=_kept(request), reply=TWIML)


def signature(secret: Secret, signed: str, algorithm: str = "sha1") -> bytes:
    return b64encode(hmac.digest(secret.reveal().encode(), signed.encode(errors="surrogateescape"), algorithm))


def _signed_pairs(request: WebhookRequest) -> form.Pairs:
    """The form; nothing for a body whose hash is in the signed query. Raises `Undecodable`."""
    stated = parse_qs(request.query).get("bodySHA256")
    if stated is None:
        return form.pairs(request.body, errors="surrogateescape")
    if not hmac.compare_digest(stated[0].encode(), sha256(request.body).hexdigest().encode()):
        raise Undecodable("bodySHA256 is not the hash of this body")
    return ()


def _joined(pairs: form.Pairs) -> str:
    return "".join(name + value for name, value in sorted(set(pairs)))


def _spellings(url: str) -> Iterable[str]:
    """The URL as it is, and with its port removed or the default one added; each without and with our fragment."""
    parts = urlsplit(url)
    other = parts.netloc.rpartition(":")[0] if parts.port is not None else f"{parts.netloc}:{PORTS[parts.scheme]}"
    spellings = (url, url.replace(parts.netloc, other, 1))
    return [*spellings, *(each + RETRIES for each in spellings)]


def _keys(
    section: TwilioSection, request: WebhookRequest, accounts: Accounts, fields: Mapping[str, str]
) -> tuple[str, Iterable[Secret]] | Denied:
    """The algorithm, and the secrets that may have signed."""
    rule = request.header(RULE_HEADER)
    if not rule:
        return "sha1", _tokens(section, accounts, fields)
    settings = dict(part.strip().partition("=")[::2] for part in rule[0].decode("latin-1").split(","))
    if settings.get("algorithm") != "HMAC_SHA256":
        return Denied(403, "the webhook rule signs with an algorithm that is not known here")
    key = section.shared_keys.get(settings.get("key", ""))
    return ("sha256", (key,)) if key is not None else Denied(503, "the webhook rule's key is not configured here")


def _tokens(section: TwilioSection, accounts: Accounts, fields: Mapping[str, str]) -> Sequence[Secret]:
    """Those of the channel, else those of the configured account."""
    address = form.own_address(fields)
    channel = accounts.by_account(form.kind_of(address), address)
    return section.auth_token if channel is None else accounts.secrets(channel, "auth_token", section.auth_token)


def _kept(request: WebhookRequest) -> dict[str, str]:
    query = parse_qs(request.query)
    return {name: query[parameter][0] for name, parameter in KEPT.items() if parameter in query}
