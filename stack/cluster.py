"""Several Kafka brokers that replicate, for tests of what one broker cannot show: losing a
broker."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Self

from stack.kafka.broker import Kafka, new_cluster_id
from stack.ports import HOST, free_ports


class KafkaCluster:
    """`n` brokers, each also a controller; with 3, any one of them may be lost.

    A context manager. `brokers` are the single brokers, which can be killed, paused and restarted.

    Args:
        directory: parent folder of the brokers' folders.
        n: number of brokers; topics are replicated to all of them.
        heap_mb: Java heap of each broker, in MiB.
        properties: further broker properties, the same for all.
    """

    def __init__(
        self,
        directory: Path,
        n: int = 3,
        heap_mb: int = 384,
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        ports = free_ports(2 * n)
        clients, controllers = ports[:n], ports[n:]
        # All brokers but one must have a record, so that losing one loses no record and stops
        # nothing.
        min_isr = str(max(1, n - 1))
        shared = {
            "controller.quorum.voters": ",".join(
                f"{node}@{HOST}:{port}" for node, port in enumerate(controllers, start=1)
            ),
            "default.replication.factor": str(n),
            "min.insync.replicas": min_isr,
            "offsets.topic.replication.factor": str(n),
            "transaction.state.log.replication.factor": str(n),
            "transaction.state.log.min.isr": min_isr,
            **properties,
        }
        cluster_id = new_cluster_id()
        self.brokers = [
            Kafka(
                directory / f"broker-{node}",
                client,
                heap_mb,
                {**shared, "node.id": str(node)},
                controller_port=controller,
                cluster_id=cluster_id,
            )
            for node, (client, controller) in enumerate(
                zip(clients, controllers, strict=True), start=1
            )
        ]

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> None:
        """Start all brokers, which are only ready together.

        Raises:
            StackError: one did not start; none is left running.
        """
        with ExitStack() as undo:
            undo.callback(self.kill)
            for broker in self.brokers:
                broker.launch()
            for broker in self.brokers:
                broker.wait_ready()
            undo.pop_all()

    def kill(self) -> None:
        """SIGKILL all brokers: the last ones would wait for ever for a majority before they end."""
        for broker in self.brokers:
            broker.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
