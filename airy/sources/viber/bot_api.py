"""What every call of Viber's REST API shares: the header with the token, and answers with a status of their own."""

from collections.abc import Mapping

import msgspec

from airy.http_client import Response
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call, Target
from airy.sources.viber.spec import ViberSection

JSON = Secret("application/json")


def token_of(section: ViberSection, target: Target) -> Secret | None:
    """The channel's own token, or the configured one."""
    own = target.credentials.get("token")
    return own if own is not None else next(iter(section.auth_token), None)


def call(api_url: str, token: Secret, method: str, fields: Mapping[str, object]) -> Call:
    headers = {"content-type": JSON, "x-viber-auth-token": token}
    url = Secret(f"{api_url.rstrip('/')}/{method}")
    return Call("POST", url, headers, msgspec.json.encode(fields), (token,))


def status_of(answer: Response) -> int | None:
    """The status in the body; None if the answer is not Viber's, which is HTTP 200 whatever happened."""
    if not 200 <= answer.status < 300:
        return None
    return provider_answer.number((payload.object_of(answer.body) or {}).get("status"))
