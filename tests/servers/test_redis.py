"""The test's Redis servers: durability, truncation, cluster, clean-up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restart_keeps_address_and_data(redis_server: RedisServer, end: str) -> None:
    url = redis_server.url
    assert redis_server.ask("SET", "key", f"before {end}") == "+OK"

    getattr(redis_server, end)()
    redis_server.start()

    assert redis_server.url == url
    assert redis_server.ask("GET", "key").endswith(f"\r\nbefore {end}")
    assert redis_server.ask("FLUSHALL") == "+OK"


def test_a_truncated_append_only_file_loses_only_its_end(redis_server: RedisServer) -> None:
    for number in range(3):
        redis_server.ask("SET", f"key {number}", "value")
    redis_server.kill()
    last = redis_server.aof_files()[-1]
    os.truncate(last, last.stat().st_size - 5)
    redis_server.start()

    assert [redis_server.ask("EXISTS", f"key {number}") for number in range(3)] == [":1", ":1", ":0"]
    assert redis_server.ask("FLUSHALL") == "+OK"


def test_a_paused_server_accepts_connections_and_never_responds(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.kit.servers.redis.ANSWER_S", 0.1)
    redis_server.pause()
    with pytest.raises(TimeoutError):
        redis_server.ask("PING")
    redis_server.resume()

    monkeypatch.undo()
    assert redis_server.ask("PING") == "+PONG"


def test_a_cluster_distributes_slots_and_survives_the_restart_of_a_node(tmp_path: Path) -> None:
    with needed(), RedisServer(tmp_path, cluster_nodes=3) as redis:
        answers = [redis.ask("SET", "key", "value", node=node) for node in range(redis.nodes)]

        owner = answers.index("+OK")
        assert sum(answer.startswith("-MOVED") for answer in answers) == 2
        redis.kill(owner)
        redis.start(owner)
        assert redis.ask("GET", "key", node=owner) == "$5\r\nvalue"


HOLDER = """
import sys
from tests.kit.servers.redis import RedisServer
with RedisServer() as redis:
    print(redis.pid(), flush=True)
    sys.stdin.read()
"""


def test_a_server_ends_with_its_parent_process(redis_server: RedisServer) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert alive(pid)
        holder.send_signal(signal.SIGKILL)

    while alive(pid):  # bounded by the test's time-out
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """A zombie counts as ended, even if its new parent has not reaped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False
