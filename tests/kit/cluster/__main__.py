"""`make cluster`: Kafka, Redis, two processes of every component and a proxy, with the demo, until Ctrl-C."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import anyio
import structlog

from airy.api_client import ApiClient
from airy.clock import SystemClock
from airy.egress import UNRESTRICTED
from airy.http_client_aiohttp import AiohttpClient
from airy.secret import Secret
from airy.sim.bot import Bot
from airy.sim.demo import ChannelConnector
from airy.sim.provider import Behaviour
from tests.kit.cluster.cluster import Cluster
from tests.kit.lifecycle import RecordingLifecycle
from tests.kit.process import TOKEN, messenger
from tests.kit.servers.child import NotStarted
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.missing import Missing
from tests.kit.servers.redis import RedisServer

CUSTOMERS = 5
LIVELY = Behaviour(duplicated=0.2, reordered=0.1, read=0.7, late=0.1, late_ms=8_000)
CURL = f"-H 'authorization: Bearer {TOKEN}' -H 'content-type: application/json' -d '{{}}'"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--replicas", type=int, default=2, help="processes of each component")
    parser.add_argument("--port", type=int, default=8080, help="of the proxy; 0: any free one")
    parser.add_argument("--for", dest="for_s", type=float, default=float("inf"), help="so many seconds")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="airy-cluster-") as directory:
            _say("starting Kafka and Redis …")
            with KafkaCluster(brokers=options.brokers) as kafka, RedisServer() as redis:
                _say(f"  Kafka   {','.join(kafka.bootstrap)}\n  Redis   {redis.url}")
                anyio.run(_run, options, Path(directory), kafka, redis)
    except KeyboardInterrupt:
        _say("stopped")
    except (Missing, NotStarted, OSError) as error:
        _say(str(error))
        return 75
    return 0


async def _run(options: argparse.Namespace, directory: Path, kafka: KafkaCluster, redis: RedisServer) -> None:
    async with messenger(LIVELY, customers=CUSTOMERS) as (sim, graph_url), AiohttpClient(UNRESTRICTED) as fetch:
        cluster = Cluster(
            directory,
            kafka=kafka.bootstrap,
            redis=redis.url,
            graph_url=graph_url,
            replicas=options.replicas,
            replication=options.brokers,
            port=options.port,
        )
        cluster.shows_logs = False
        _say(f"starting {len(cluster.processes)} processes …")
        began = time.perf_counter()
        async with cluster.up(), anyio.create_task_group() as tasks:
            _say(f"  ready after {time.perf_counter() - began:.1f} s")
            client = ApiClient(fetch, cluster.url, Secret(TOKEN))
            lifecycle = RecordingLifecycle()
            (connect,) = sim.core.setup(graph_url).connects
            await ChannelConnector(client, connect).run(lifecycle)
            tasks.start_soon(Bot(client, SystemClock()).run, lifecycle)
            sim.core.transcript = _say
            _topic_partition(cluster)
            sim.target_url = cluster.url
            try:
                with anyio.move_on_after(options.for_s):
                    await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    sim.target_url = None
                    lifecycle.draining.set()
                    _say("stopping …")
                    codes = await anyio.to_thread.run_sync(cluster.stop)
                    _say(f"  {len(codes)} processes ended, {sum(code != 0 for code in codes.values())} of them badly")
                tasks.cancel_scope.cancel()


def _topic_partition(cluster: Cluster) -> None:
    width = max(map(len, cluster.processes))
    rows = [f"  {name:<{width}}  {replica.url}  pid {replica.pid}" for name, replica in cluster.processes.items()]
    _say(
        "\n".join(
            [
                *rows,
                "",
                f"the proxy      {cluster.url}",
                f"the token      {TOKEN}",
                f"conversations  curl -s {cluster.url}/conversations.list {CURL}",
                f"how it is      {Path(sys.executable).with_name('airy')} status --token {TOKEN} --url {cluster.url}",
                f"logs           {cluster.directory}/*.log",
                "break it       kill -9 a pid: the other process of its kind takes over; Ctrl-C ends everything",
                "",
            ]
        )
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
