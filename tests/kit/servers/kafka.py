"""Apache Kafka on loopback: one broker or three, without containers, that can be killed, stopped, paused and restarted.

    with KafkaCluster(brokers=3) as kafka:
        connect(kafka.bootstrap)
        kafka.kill(kafka.leader_of("events", 0))

Ports and data survive a kill. All methods block: async code calls them in a worker thread. `make kafka` runs this.
"""

import argparse
import base64
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.servers import kafka_settings as settings
from tests.kit.servers.certificates import Authority
from tests.kit.servers.child import READY_S, Child, NotStarted
from tests.kit.servers.kafka_artefacts import VERSION, Artefacts, locked, ready
from tests.kit.servers.kafka_settings import CONTROLLER, PLAIN, SMALL_JVM, STEADY_JVM, Node, Security
from tests.kit.servers.kafka_wire import Metadata, Partition, metadata
from tests.kit.servers.missing import Missing
from tests.kit.servers.ports import Port

WATCH_S = 0.5


class KafkaCluster:
    """Nodes are numbered from 1. `users` (name → password) adds SASL listeners, `tls` TLS listeners, both: SASL on TLS.

    `session_s`: the session time-out of brokers, and the time a killed one waits until it can register again. Smaller
    is faster, and gives false time-outs on a busy machine. A sole broker that timed out leads no partition for a
    moment, and no topic can be created.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        brokers: int = 1,
        port: int = 0,
        users: Mapping[str, str] | None = None,
        tls: bool = False,
        acl: bool = False,
        session_s: float = 6.0,
        jvm: Sequence[str] = SMALL_JVM,
        changed: Mapping[str, str] | None = None,
        artefacts: Artefacts | None = None,
    ) -> None:
        self._given_folder = folder
        self._brokers = brokers
        self._port = port
        self._users = users or {}
        self._wants_tls = tls
        self._acl = acl
        self._session_s = session_s
        self._jvm = jvm
        self._changed = changed or {}
        self._artefacts = artefacts
        self._exits = ExitStack()
        self._nodes: dict[int, Node] = {}
        self._children: dict[int, Child] = {}
        self.folder = Path()
        self.authority: Authority | None = None

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self._artefacts = artefacts = self._artefacts or prepared()
            self.folder = self._given_folder or Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="kafka-")))
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._wants_tls:
                self.authority = Authority(self.folder / "tls")
                self.authority.issue("server")
            security = Security(
                users=self._users, acl=self._acl, tls_folder=self.authority.folder if self.authority else None
            )
            self._lay_out(exits, security, artefacts)
            exits.callback(self._end_all)
            self._start_all()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    # --- addresses

    @property
    def bootstrap(self) -> list[str]:
        """Addresses of the plain listener, whose clients are super users."""
        return self.listener(PLAIN)

    def listener(self, name: str) -> list[str]:
        """Addresses of `plain`, `sasl`, `tls` (requires a client certificate) or `sasl_tls`."""
        return [f"{node.host}:{node.ports[name]}" for node in self._nodes.values()]

    @property
    def nodes(self) -> list[int]:
        return list(self._nodes)

    def log(self, node: int) -> Path:
        return self._children[node].log

    def pid(self, node: int) -> int:
        return self._children[node].pid

    def running(self, node: int) -> bool:
        return self._children[node].running

    def memory_bytes(self) -> int:
        """Resident memory of all running brokers."""
        return sum(child.memory_bytes() for child in self._children.values() if child.running)

    # --- control

    def kill(self, node: int) -> None:
        """SIGKILL."""
        self._children[node].kill()

    def stop(self, node: int) -> None:
        """SIGTERM, and wait."""
        self._children[node].stop()

    def start(self, node: int) -> None:
        """Start again after `kill` or `stop`; returns when the broker responds and has joined the cluster."""
        child = self._children[node]
        child.start()
        child.until(lambda: node in self._asked(node).nodes, f"broker {node}")
        if all(each.running for each in self._children.values()):
            child.until(lambda: all(each.leader > 0 for each in self._partitions(node)), "a leader for each partition")

    def pause(self, node: int) -> None:
        """SIGSTOP."""
        self._children[node].pause()

    def resume(self, node: int) -> None:
        """SIGCONT."""
        self._children[node].resume()

    # --- metadata

    def metadata(self) -> Metadata:
        """The metadata of the first broker that responds. Raises `OSError` if none does."""
        refusal: OSError = ConnectionError("no broker runs")
        for node, child in self._children.items():
            try:
                if child.running:
                    return self._asked(node)
            except OSError as error:
                refusal = error
        raise refusal

    def partition(self, topic: str, partition: int) -> Partition:
        return self.metadata().partitions[topic, partition]

    def leader_of(self, topic: str, partition: int) -> int:
        """The leader's number; -1 without a leader, or if the queried broker does not know the topic yet."""
        known = self.metadata().partitions.get((topic, partition))
        return known.leader if known else -1

    def in_sync(self, within_s: float = READY_S) -> None:
        """Wait until every replica is in sync: then the next node may be killed."""
        node, child = next((node, child) for node, child in self._children.items() if child.running)
        child.until(lambda: all(_whole(each) for each in self._partitions(node)), "all copies in sync", within_s)

    def _asked(self, node: int) -> Metadata:
        return metadata(self._nodes[node].host, self._nodes[node].ports[PLAIN])

    def _partitions(self, node: int) -> Iterable[Partition]:
        return self._asked(node).partitions.values()

    # --- start

    def _lay_out(self, exits: ExitStack, security: Security, artefacts: Artefacts) -> None:
        names = (*security.listeners, CONTROLLER)
        for number in range(1, self._brokers + 1):
            wanted = self._port + number - 1 if self._port else 0
            ports = {name: Port(wanted if name == PLAIN else 0) for name in names}
            for port in ports.values():
                exits.callback(port.close)
            self._nodes[number] = Node(number=number, ports={name: port.number for name, port in ports.items()})
        cluster_id = _short_id()
        checkpoint: Path | None = None
        for node in self._nodes.values():
            storage = self.folder / f"node-{node.number}"
            file = self.folder / f"node-{node.number}.properties"
            values = settings.settings(
                node, list(self._nodes.values()), security, storage, self._session_s, self._changed
            )
            file.write_text(settings.text(values))
            if not storage.exists():  # else the cluster of an earlier start
                if checkpoint is None:  # the salts of users must be equal on all nodes
                    checkpoint = _checkpoint(artefacts, values, security, self.folder / "format")
                _formatted(storage, checkpoint, node.number, cluster_id)
            self._children[node.number] = Child(
                [artefacts.java, *java_options(artefacts, self._jvm), "kafka.Kafka", str(file)],
                folder=self.folder,
                log=self.folder / f"node-{node.number}.log",
            )

    def _start_all(self) -> None:
        for child in self._children.values():
            child.start()
        every_node = frozenset(self._nodes)
        for node, child in self._children.items():
            child.until(partial(self._sees, node, every_node), f"broker {node}")

    def _sees(self, node: int, every_node: frozenset[int]) -> bool:
        return self._asked(node).nodes == every_node

    def _end_all(self) -> None:
        for child in self._children.values():
            if len(self._children) == 1:
                child.stop()
            else:  # simultaneous stops wait for each other; a kill loses nothing
                child.kill()


def prepared() -> Artefacts:
    """The artefacts with their class archive and template, created at the first use."""
    artefacts = ready()
    with locked(artefacts.folder / "prepare.lock"):
        if not artefacts.template.exists():
            _make_template(artefacts)
        if not (artefacts.class_archive.exists() or artefacts.no_class_archive.exists()):
            _make_class_archive(artefacts)
    return artefacts


def java_options(artefacts: Artefacts, jvm: Sequence[str]) -> list[str]:
    """The command up to the class name. A JVM that cannot use the archive starts without it."""
    quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    dated = ["-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS"]
    archive = [f"-XX:SharedArchiveFile={artefacts.class_archive}"] if artefacts.class_archive.exists() else []
    return [*jvm, "-Xshare:auto", *archive, *quiet, *dated, "-cp", artefacts.class_path]


def _checkpoint(artefacts: Artefacts, values: Mapping[str, str], security: Security, scratch: Path) -> Path:
    """The initial content of a storage folder; with users it is created for them."""
    if not security.users and artefacts.template.exists():
        return artefacts.template
    scratch_file = scratch.with_suffix(".properties")
    scratch_file.write_text(settings.text({**values, "log.dirs": str(scratch)}))
    done = subprocess.run(
        [
            artefacts.java,
            *java_options(artefacts, SMALL_JVM),
            "kafka.tools.StorageTool",
            "format",
            "--config",
            str(scratch_file),
            "--cluster-id",
            _short_id(),
            *settings.scram(security),
        ],
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )
    if done.returncode != 0:
        raise NotStarted(f"the storage could not be formatted:\n{done.stdout}{done.stderr}")
    return scratch / "bootstrap.checkpoint"


def _formatted(storage: Path, checkpoint: Path, number: int, cluster_id: str) -> None:
    storage.mkdir(parents=True)
    shutil.copyfile(checkpoint, storage / "bootstrap.checkpoint")
    (storage / "meta.properties").write_text(
        f"version=1\ncluster.id={cluster_id}\nnode.id={number}\ndirectory.id={_short_id()}\n"
    )


def _make_template(artefacts: Artefacts) -> None:
    with tempfile.TemporaryDirectory(prefix="kafka-template-") as name, Port() as plain, Port() as controller:
        node = Node(number=1, ports={PLAIN: plain.number, CONTROLLER: controller.number})
        values = settings.settings(node, [node], Security(), Path(name), 2.0, {})
        made = _checkpoint(artefacts, values, Security(), Path(name) / "format")
        _moved(made, artefacts.template)


def _make_class_archive(artefacts: Artefacts) -> None:
    """Created by a broker that starts, responds and stops. Optional: without it starts are slower."""
    with tempfile.TemporaryDirectory(prefix="kafka-classes-") as name:
        archive = Path(name) / "classes.jsa"
        with KafkaCluster(
            Path(name) / "broker", jvm=[*SMALL_JVM, f"-XX:ArchiveClassesAtExit={archive}"], artefacts=artefacts
        ):
            pass
        if archive.exists():
            _moved(archive, artefacts.class_archive)
        else:
            artefacts.no_class_archive.touch()


def _moved(made: Path, to: Path) -> None:
    """Atomic, also across file systems."""
    beside = to.with_name(f"{to.name}.{secrets.token_hex(4)}")
    shutil.copyfile(made, beside)
    beside.rename(to)


def _whole(partition: Partition) -> bool:
    return partition.leader > 0 and set(partition.in_sync) == set(partition.replicas)


def _short_id() -> str:
    """A Kafka UUID; never with a leading dash, which Kafka's tools would parse as an option."""
    return "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kit.servers.kafka", description="Apache Kafka until Ctrl-C.")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--port", type=int, default=0, help="of the first broker; the others follow")
    parser.add_argument("--folder", type=Path, help="keep the data here, and go on with what is there")
    parser.add_argument("--steady", action="store_true", help="a JVM for measurements: more memory, all optimisations")
    options = parser.parse_args(arguments)
    for each in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(each, signal.default_int_handler)
    began = time.perf_counter()
    try:
        with KafkaCluster(
            options.folder, brokers=options.brokers, port=options.port, jvm=STEADY_JVM if options.steady else SMALL_JVM
        ) as kafka:
            _tell(kafka, time.perf_counter() - began)
            while all(kafka.running(node) for node in kafka.nodes):
                time.sleep(WATCH_S)
            sys.exit("a broker has ended; see its log")
    except KeyboardInterrupt:
        print("stopped")  # noqa: T201 -- a program's output
    except (Missing, NotStarted, OSError) as error:
        sys.exit(str(error))


def _tell(kafka: KafkaCluster, took_s: float) -> None:
    rows = {
        "bootstrap": ",".join(kafka.bootstrap),
        "version": f"Apache Kafka {VERSION}, ready in {took_s:.1f} s",
        "memory": f"{kafka.memory_bytes() / 1e6:.0f} MB",
        "log": ", ".join(str(kafka.log(node)) for node in kafka.nodes),
        "stop": "Ctrl-C",
    }
    for name, value in rows.items():
        print(f"{name:<10} {value}", flush=True)  # noqa: T201 -- a program's output


if __name__ == "__main__":
    main()
