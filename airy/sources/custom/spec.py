"""Custom sources: programs that use Airy's own routes where another source has a provider's webhook.

`sources.create` makes one, with a token that opens its channels and its messages alone. What contacts write is posted
to `sources.webhook`; what agents write is posted to the `action_endpoint` of the source, signed with the token. The
address comes from a caller of the API, so it is called through the same guard as those of webhooks.
"""

from airy.sources.spec import Capabilities, Kind, Recipients, SendLimits, SourceSection, SourceSpec

KIND = "custom"
SOURCE_ID_CHARACTERS_MAX = 128


class CustomSection(SourceSection, frozen=True, kw_only=True):
    pass


SPEC = SourceSpec(
    name="custom",
    title="Custom sources",
    kinds=(
        Kind(
            name=KIND,
            title="Channel of a custom source",
            account="any name the source has for it",
            connect=None,
            limits=SendLimits(per_s=50.0, parallel_max=4),  # so that no slow source has all workers
            recipients=Recipients(pattern=r"\S.{0,1023}", expected="what the source calls the contact"),
            capabilities=Capabilities(
                receives=(
                    "text",
                    "image",
                    "video",
                    "audio",
                    "voice",
                    "file",
                    "sticker",
                    "location",
                    "contacts",
                    "card",
                    "carousel",
                    "choice",
                    "template",
                    "story",
                    "postback",
                    "system",
                ),
                sends=(
                    "text",
                    "image",
                    "video",
                    "audio",
                    "voice",
                    "file",
                    "sticker",
                    "location",
                    "contacts",
                    "card",
                    "carousel",
                    "choice",
                    "template",
                ),
                updates=("edit", "deletion", "reaction"),
                profile="webhook",
                receipts=("sent", "delivered", "read"),
                echoes=True,
                media="url",
                starts=True,
            ),
            open=True,
        ),
    ),
    section=CustomSection,
    build="airy.sources.custom.source:Custom",
    services=("integration-source-api",),
    reported_as="integration-source-api",
    routes=("/sources.",),
    guarded=True,
)
