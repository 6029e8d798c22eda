"""The notice board, as data."""

from typing import Annotated

from airy.secret import Secret
from airy.sources.spec import REQUIRED, Capabilities, ChannelForm, Kind, SendLimits, SourceSection, SourceSpec, Url


class PaperSection(SourceSection, frozen=True):
    signing_key: Annotated[Secret | None, REQUIRED] = None
    api_url: Url = "https://paper.example.org"


class ConnectBoard(ChannelForm, frozen=True, kw_only=True):
    board: str
    board_key: Secret


SPEC = SourceSpec(
    name="paper",
    title="Notice board",
    kinds=(
        Kind(
            name="paper",
            title="Board",
            account="board",
            connect=ConnectBoard,
            limits=SendLimits(per_s=100.0, parallel_max=4),
            capabilities=Capabilities(receipts=("delivered", "read")),
            credentials=("board_key",),
        ),
    ),
    section=PaperSection,
    webhooks=("/paper/{board}",),
    build="tests.kit.paper_source.source:Paper",
)
