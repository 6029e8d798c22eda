"""What an operator configures for Messenger: one Meta app, which any number of pages are subscribed to."""

import re

from msgspec import Struct

from airy.errors import Refused

_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}")


class FacebookConfig(Struct, frozen=True):
    """`app_secrets`: the current one first; a second is accepted for webhooks while one is rotated out."""

    app_id: str
    app_secrets: tuple[str, ...]
    verify_token: str
    graph_url: str = "https://graph.facebook.com"
    graph_version: str = "v23.0"
    human_agent: bool = False  # Meta granted the app the human agent permission
    send_rate_per_s: float = 40.0  # per page
    send_parallel_max: int = 16  # conversations of one page at once

    def __post_init__(self) -> None:
        if not 1 <= len(self.app_secrets) <= 2 or not all(self.app_secrets):
            raise Refused("give one app secret, or two while you rotate them; none may be empty", field="app_secrets")
        if not self.verify_token:
            raise Refused("the verify token is empty: any client could subscribe", field="verify_token")
        if not _VERSION.fullmatch(self.graph_version):
            raise Refused(
                f"not a Graph API version: {self.graph_version!r}; write it like v23.0", field="graph_version"
            )
        if not self.graph_url.startswith(("https://", "http://")):
            raise Refused(f"not a web address: {self.graph_url!r}", field="graph_url")

    def __repr__(self) -> str:
        return f"FacebookConfig(app_id={self.app_id!r}, graph={self.graph!r}, secrets=***)"

    @property
    def graph(self) -> str:
        """The address all calls start with."""
        return f"{self.graph_url.rstrip('/')}/{self.graph_version}"
