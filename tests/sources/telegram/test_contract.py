"""Telegram keeps the contract of sources, over its recorded payloads and against its provider."""

from pathlib import Path

from msgspec.structs import replace

from airy.sources.api import Target
from tests.kit.contracts.source import SourceContract
from tests.kit.providers import WIRES


class TestContract(SourceContract):
    wire = WIRES["telegram"]
    folder = Path(__file__).parent / "fixtures"

    def read(self, kind: str) -> tuple[Target, str]:
        """Of a business account: others have no such signal."""
        target = self.target(kind)
        assert target.conversation is not None
        chat = replace(target.conversation, participant_id="bc-1:7100001")
        return replace(target, conversation=chat), "bc-1:7100001:5"

    def test_a_business_account_shows_what_was_read_and_a_bot_does_not(self) -> None:
        source = self.wire.source()
        (call,) = source.mark_read(*self.read("telegram"))  # type: ignore[attr-defined]
        assert call.url.reveal().endswith("/readBusinessMessage")
        assert call.body == b'{"business_connection_id":"bc-1","chat_id":7100001,"message_id":5}'
        assert source.mark_read(self.target("telegram"), "7100001:5") == []  # type: ignore[attr-defined]
