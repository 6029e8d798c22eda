"""`airy doctor` beside a real process: nothing to correct while it is healthy, and the cause of what an operator does
wrong.
"""

from contextlib import closing
from pathlib import Path

import pytest

from airy.app.doctor.command import examine_installation
from airy.seal import load_or_create_key
from tests.kit.doctor import wrong
from tests.kit.process import AiryProcess, Subscriber, call_retrying, connect, http_session, messenger
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


class Doctor:
    def __init__(self, airy: AiryProcess) -> None:
        self.file = airy.directory / "airy.yaml"
        self.file.chmod(0o600)  # it holds secrets
        self._text = self.file.read_text()
        self._data = str(airy.directory / "data")

    def edit(self, old: str, new: str) -> None:
        assert old in self._text
        self.file.write_text(self._text.replace(old, new))

    async def finds(self, *, token: str | None = None, data: Path | None = None) -> dict[str, str]:
        """The cause of each warning and problem."""
        results = await examine_installation(self.file, {"AIRY_DATA": str(data or self._data)}, None, token)
        return {check: finding.text for check, finding in wrong(results).items()}


async def test_a_healthy_process_and_what_an_operator_does_wrong(tmp_path: Path) -> None:
    async with messenger() as (_, graph), Subscriber().serving() as subscriber, http_session() as session:
        with closing(AiryProcess(tmp_path, graph)) as airy, Port() as free:
            doctor = Doctor(airy)
            airy.start()
            await airy.ready(session)
            await connect(airy, session)
            hook = {"url": subscriber.url, "events": ["message.created"]}
            await call_retrying(airy, session, "/webhooks.subscribe", hook)

            assert await doctor.finds() == {}

            wrong_token = await doctor.finds(token="of-another-installation")
            load_or_create_key(tmp_path / "other/sealing.key")
            other_data = await doctor.finds(data=tmp_path / "other")
            doctor.edit("http: {port", f"http: {{publicUrl: '{airy.url}', port")  # which leads here
            not_restarted = await doctor.finds()
            doctor.edit(str(airy.url.rpartition(":")[2]), str(free.number))
            other_port = await doctor.finds()

    assert wrong_token == {"instance.token": f"{airy.url} refuses the token"}
    address = airy.url.removeprefix("http://")
    assert other_data.keys() == {"http.port"}
    assert other_data["http.port"].startswith(f"{address} is taken by process {airy.pid} (")
    assert other_data["http.port"].endswith(", another installation of Airy")
    assert not_restarted == {
        "instance.configuration": "the process runs with other settings than its file has: http.publicUrl"
    }
    assert set(other_port) == {"journal.lock"}
    assert f"process {airy.pid} (" in other_port["journal.lock"]
