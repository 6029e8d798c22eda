"""The configuration keys of a source that works through a Meta app. Light: read wherever the configuration is."""

from typing import Annotated

from msgspec import Meta

from airy.secret import Secret
from airy.sources.spec import REQUIRED, Recipients, SourceSection, Url

Version = Annotated[str, Meta(pattern=r"^v\d+\.\d+$", extra={"expected": "a version like v26.0"})]


WEBHOOK_OWNER = "facebook"
"""The source whose webhook an app's other subscriptions may point to as well."""


WEBHOOK_BYTES_MAX = 8_388_608  # full batches have 1.4 to 5 MB


FACEBOOK_PAGE, INSTAGRAM_LOGIN = "facebook_page", "instagram_login"
"""How an Instagram account was connected: through its page, or by itself."""


CHECK_EVERY_S = 3_600.0
"""Meta ends the webhooks of a page or account whose webhooks failed for an hour."""


RECIPIENTS = Recipients(
    pattern=r"\d{1,24}|user_ref:\S{1,200}", expected="the contact's id for this page, which is a number"
)


class GraphSection(SourceSection, frozen=True):
    """`app_secret`: newest first; the older ones are accepted for webhooks only."""

    app_id: Annotated[str, REQUIRED] = ""
    app_secret: Annotated[
        tuple[Secret, ...],
        Meta(max_length=3, extra={"required": True}, description="a list during rotation, the new one first"),
    ] = ()
    webhook_secret: Annotated[
        Secret | None, REQUIRED, Meta(description="the verify token of the app's webhook settings")
    ] = None
    graph_url: Url = "https://graph.facebook.com"
    graph_version: Version = "v26.0"
    mark_read: Annotated[
        bool, Meta(description="false: contacts do not see that conversations.mark-read marked their messages")
    ] = True


class MetaSection(GraphSection, frozen=True):
    human_agent: Annotated[
        bool, Meta(description="true: answers after the standard window use the HUMAN_AGENT tag")
    ] = False
