"""One Kafka broker in KRaft mode, broker and controller in one process."""

import base64
import logging
import re
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from stack.kafka import jars
from stack.ports import HOST, free_ports, require_free
from stack.service import Command, Service

PROBE = "stack-readiness"
"""Name of a consumer group that nobody uses, for the readiness check."""

# Takes librdkafka's messages about a broker that is not there yet, which are expected.
_connect_log = logging.getLogger(f"{__name__}.connect")
_connect_log.propagate = False
_connect_log.addHandler(logging.NullHandler())

LOG4J = Path(__file__).with_name("log4j2.properties")

MAX_MESSAGE = 32 << 20
"""Most bytes of a record batch that the broker accepts: camera images of 20 MB and more."""

JVM = (
    # The parallel collector takes less CPU than G1 and less memory than ZGC. With the serial one,
    # pauses were twice as long on two cores (14 ms at 1,800 records/s, 100 ms when it collects
    # all), and are as long on 16. All compiler tiers are used: without the second one, a start
    # takes a fifth less, but everything after it takes longer.
    "-XX:+UseParallelGC",
    "-Xlog:cds=off",
    "-Xlog:cds+dynamic=off",
    f"-Dlog4j2.configurationFile={LOG4J}",
)

PAUSE = re.compile(r"Pause .* ([0-9.]+)ms$", re.MULTILINE)
"""A line of Java's log about a pause that has ended."""

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "message.max.bytes": str(MAX_MESSAGE),
        "replica.fetch.max.bytes": str(MAX_MESSAGE),
        # A topic with a mistyped name is an error, and is not created.
        "auto.create.topics.enable": "false",
        # Consumers get their partitions at once, without waiting 3 s for others to join.
        "group.initial.rebalance.delay.ms": "0",
        # A broker that crashed can only come back when its session has ended: after 3 s, not 9.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # A single broker can hold only one replica.
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # By default 50 each, which cost files and start time without any use here.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "1",
    }
)


class Kafka(Service):
    """A Kafka broker on 127.0.0.1 with its data in `directory`.

    Args:
        directory: folder for data, configuration and log; data that is there already is used again.
        port: port of the clients' listener; None: a free one.
        heap_mb: the Java heap, in MiB.
        properties: broker properties that override `DEFAULTS`.
        controller_port: port of the controller's listener; None: a free one.
        cluster_id: equal for all nodes of a cluster; None: a new one.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        heap_mb: int = 512,
        properties: Mapping[str, str] = MappingProxyType({}),
        *,
        controller_port: int | None = None,
        cluster_id: str | None = None,
    ) -> None:
        super().__init__("Kafka", directory)
        picked = free_ports(2)
        self.port = picked[0] if port is None else port
        self._controller_port = picked[1] if controller_port is None else controller_port
        self._heap_mb = heap_mb
        self._cluster_id = cluster_id or new_cluster_id()
        listeners = {
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "listeners": ",".join(
                (
                    f"PLAINTEXT://{HOST}:{self.port}",
                    f"CONTROLLER://{HOST}:{self._controller_port}",
                )
            ),
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "log.dirs": str(self.directory / "data"),
        }
        self.properties = {**DEFAULTS, **listeners, **properties}

    def add_listener(
        self, name: str, port: int, protocol: str, *, advertised_port: int | None = None
    ) -> None:
        """Add a listener for clients; must be called before the start.

        Args:
            protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
            advertised_port: port that clients are told to use; None: `port`.
        """
        self.properties["listeners"] += f",{name}://{HOST}:{port}"
        self.properties["advertised.listeners"] += f",{name}://{HOST}:{advertised_port or port}"
        self.properties["listener.security.protocol.map"] += f",{name}:{protocol}"

    @property
    def _collections(self) -> Path:
        """Java's log of its garbage collections."""
        return self.directory / "collections.log"

    def pauses_ms(self) -> list[float]:
        """How long each garbage collection since the last start has stopped the broker, in
        milliseconds; concurrent ones are not among them."""
        if not self._collections.exists():
            return []
        return [float(found) for found in PAUSE.findall(self._collections.read_text())]

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def _prepare(self) -> Command:
        java, class_path = jars.java(), jars.class_path()
        require_free(self.port, "Kafka")
        require_free(self._controller_port, "Kafka's controller")
        config = self.directory / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self.properties.items()))
        if not (self.directory / "data" / "meta.properties").exists():
            self._format(java, class_path, config)
        return Command(
            [
                java,
                f"-Xmx{self._heap_mb}m",
                *JVM,
                f'-Xlog:gc:file="{self._collections}":uptime',
                "-XX:+ExitOnOutOfMemoryError",
                f"-XX:SharedArchiveFile={jars.class_archive(java)}",
                "-cp",
                class_path,
                "kafka.Kafka",
                str(config),
            ]
        )

    def _format(self, java: str, class_path: str, config: Path) -> None:
        archive = jars.class_archive(java)
        scratch = archive.with_name(f"{uuid.uuid4().hex}.new")
        sharing = (
            f"-XX:SharedArchiveFile={archive}"
            if archive.exists()
            else f"-XX:ArchiveClassesAtExit={scratch}"
        )
        tool = ["kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", str(config)]
        done = subprocess.run(
            # The first compiler tier is enough for a program that runs for a second.
            [java, "-XX:TieredStopAtLevel=1", *JVM, sharing, "-cp", class_path, *tool],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        with self.log_path.open("a") as log:
            log.write(done.stdout)
        if done.returncode != 0:
            raise self._failure(f"Kafka's data directory can't be formatted with {config}")
        if scratch.exists():
            scratch.replace(archive)

    def _causes(self, log: str) -> list[str]:
        return re.findall(r"^.*(?: ERROR | FATAL |Exception: ).*$", log, re.MULTILINE)

    def _is_ready(self) -> bool:
        """Whether metadata names the broker, and it coordinates groups (its offsets topic
        exists)."""
        try:  # this is refused at once; a client would wait for its timeout
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        admin = AdminClient({"bootstrap.servers": self.bootstrap}, logger=_connect_log)
        try:
            admin.list_topics(timeout=1)
            admin.describe_consumer_groups([PROBE], request_timeout=1)[PROBE].result()
        except KafkaException as error:
            # A coordinator that is ready answers that there is no such group.
            return bool(error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
        return True


def new_cluster_id() -> str:
    """A random id in the form that `kafka-storage random-uuid` prints."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # it would be read as an option
            return text
