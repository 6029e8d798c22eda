"""The walk-through of docs/sources/custom.md works against a real process, with the configuration of the page."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.documented_programs import PYTHON, SHELL, Demonstration, blocks, installation, languages, run
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360)]

PAGE = "sources/custom.md"
ACTIONS_PORT = "8900"  # on the page
AFTERWARDS = """
import time
until = time.monotonic() + 60
while not SENT and time.monotonic() < until:
    time.sleep(0.05)
assert list(SENT.values()) == ["out-1"], "the answer that waited for the program"
refused = Request("http://127.0.0.1:8900/act", b"{}", {"X-Airy-Content-Signature": "00"})
try:
    urlopen(refused)
    raise AssertionError("a call that is not signed was taken")
except OSError as error:
    assert error.code == 403
    error.close()
admin = open(".airy/system-token").read().strip()
headers = {"Authorization": f"Bearer {admin}", "Content-Type": "application/json"}
def asked(path, body):
    with urlopen(Request(f"{AIRY}/{path}", json.dumps(body).encode(), headers)) as response:
        return json.load(response)["data"]
(conversation,) = asked("conversations.list", {})
assert conversation["metadata"]["contact"]["display_name"] == "Mary J.", conversation
states = {}
while "pending" in states.values() or len(states) < 3:
    messages = asked("messages.list", {"conversation_id": conversation["id"]})
    states = {each["content"]["text"]: each["delivery_state"] for each in messages}
assert states == dict.fromkeys(("Thank you!", "On its way.", "Where is my order?"), "delivered"), states
"""


@pytest.fixture
def custom_source(tmp_path: Path) -> Iterator[tuple[Demonstration, str]]:
    """An instance with the page's configuration, and the port of the source's program."""
    with closing(Port()) as actions:
        config = blocks(PAGE, "yaml").replace(ACTIONS_PORT, str(actions.number))
        with installation(tmp_path, config) as place:
            yield place, str(actions.number)


def test_the_walk_through_of_the_page_works(custom_source: tuple[Demonstration, str]) -> None:
    place, port = custom_source
    shown = run(SHELL, place, blocks(PAGE, "sh").replace(ACTIONS_PORT, port))
    assert '"tier":"gold"' in shown
    assert '"delivery_state":"pending"' in shown
    assert '"code"' not in shown, "no answer is a problem"
    said = run(PYTHON, place, (blocks(PAGE, "python") + AFTERWARDS).replace(ACTIONS_PORT, port))
    assert said == "to customer-88 {'text': 'On its way.'}\n"


def test_every_block_of_the_page_is_run() -> None:
    """`json` shows the body of a call, which the program receives."""
    assert languages(PAGE) == {"", "json", "python", "sh", "yaml"}
