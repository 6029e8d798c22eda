"""The Meta app that pages and Instagram accounts are subscribed to, in clear, as the Graph API needs it."""

import re

from msgspec import Struct

from airy.errors import Refused
from airy.sources.meta.section import GraphSection, MetaSection

SECRETS_MAX = 6  # those of the app and of its Instagram product, each new and old
_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}")


class MetaApp(Struct, frozen=True):
    """`app_secrets`: the first signs our calls; webhooks signed with any of them are accepted."""

    app_id: str
    app_secrets: tuple[str, ...]
    verify_token: str
    graph_url: str = "https://graph.facebook.com"
    graph_version: str = "v26.0"
    proves: bool = True  # calls have the proof of the app secret
    title: str = "facebook"  # what errors call the API
    human_agent: bool = False  # Meta granted the app the human agent permission

    def __post_init__(self) -> None:
        if not 1 <= len(self.app_secrets) <= SECRETS_MAX or not all(self.app_secrets):
            raise Refused(f"give one to {SECRETS_MAX} app secrets; none may be empty", field="app_secrets")
        if not self.verify_token:
            raise Refused("the verify token is empty: any caller could subscribe", field="verify_token")
        if not _VERSION.fullmatch(self.graph_version):
            raise Refused(
                f"not a Graph API version: {self.graph_version!r}; write it like v26.0", field="graph_version"
            )
        if not self.graph_url.startswith(("https://", "http://")):
            raise Refused(f"not a web address: {self.graph_url!r}", field="graph_url")

    def __repr__(self) -> str:
        return f"MetaApp(app_id={self.app_id!r}, graph={self.graph!r}, secrets=***)"

    @property
    def graph(self) -> str:
        """The address all calls start with."""
        return f"{self.graph_url.rstrip('/')}/{self.graph_version}"


def app_of(section: GraphSection) -> MetaApp:
    """Where the component is off, placeholders: nothing is verified or sent with them."""
    return MetaApp(
        app_id=section.app_id or "off",
        app_secrets=tuple(secret.reveal() for secret in section.app_secret) or ("off",),
        verify_token=section.webhook_secret.reveal() if section.webhook_secret else "off",
        graph_url=section.graph_url,
        graph_version=section.graph_version,
        human_agent=isinstance(section, MetaSection) and section.human_agent,
    )
