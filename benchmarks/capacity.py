"""How many bridges, partitions, brokers and GPUs a stream of images needs. Pure."""

import math
from dataclasses import dataclass

HEADROOM = 0.6
"""Share of a part's capacity that is planned with: the rest is for peaks, rebalances, and the loss
of a part."""


@dataclass(frozen=True, slots=True)
class Costs:
    """The capacity and cost of one of each part. docs/scaling.md has the source of each figure.

    Attributes:
        image_bytes: bytes of an image's record, including its headers.
        prediction_bytes: bytes of a prediction's record.
        bridge_rate: images/s of one bridge process.
        bridge_core_us: CPU microseconds of the bridge for each image.
        triton_core_us: CPU microseconds of Triton for each image, including its decoding.
        broker_core_us: CPU microseconds of a broker for each image and its prediction, each copy.
        gpu_rate: images/s of the network on one GPU, through Triton.
        broker_bytes: bytes/s that one broker writes.
        broker_cores: CPU cores of one broker.
        partition_bytes: bytes/s of one partition.
        replication: copies of each record.
        gpu_watts, core_watts, broker_watts: power at that load; for a GPU only that of its card,
            since its host is counted in the cores.
    """

    image_bytes: int
    prediction_bytes: int
    bridge_rate: float
    bridge_core_us: float
    broker_core_us: float
    gpu_rate: float
    triton_core_us: float = 0
    broker_bytes: float = 200e6
    broker_cores: int = 8
    partition_bytes: float = 10e6
    replication: int = 3
    gpu_watts: float = 700
    core_watts: float = 8
    broker_watts: float = 250

    @property
    def broker_rate(self) -> float:
        """Images/s that one broker's share of the cluster carries."""
        written = (self.image_bytes + self.prediction_bytes) * self.replication
        cpu = self.broker_core_us * self.replication
        return min(self.broker_bytes / written, 1e6 * self.broker_cores / cpu)

    @property
    def partition_rate(self) -> float:
        """Images/s of one partition."""
        return self.partition_bytes / self.image_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts that a stream needs.

    Attributes:
        cores: CPU cores of the bridges and of Triton.
        ingress_gbit: images into Kafka, before replication, Gbit/s.
        first: the part with the least room, which saturates first.
        watt_hours_per_million: watt-hours for a million images.
    """

    bridges: int
    cores: int
    partitions: int
    brokers: int
    gpus: int
    ingress_gbit: float
    first: str
    watt_hours_per_million: float


def plan(rate: float, costs: Costs) -> Plan:
    """Size everything for `rate` images/s, with `HEADROOM`.

    Raises:
        ValueError: the rate is not positive.
    """
    if rate <= 0:
        raise ValueError(f"a rate is positive, not {rate}")
    exact = {
        "bridge": rate / (costs.bridge_rate * HEADROOM),
        "GPU": rate / (costs.gpu_rate * HEADROOM),
        "broker": rate / (costs.broker_rate * HEADROOM),
    }
    bridges, gpus = math.ceil(exact["bridge"]), math.ceil(exact["GPU"])
    # A record cannot have more copies than there are brokers.
    brokers = max(costs.replication, math.ceil(exact["broker"]))
    counts = {"bridge": bridges, "GPU": gpus, "broker": brokers}
    # Twice as many partitions as bridges, so that bridges can be added without changing the topic.
    partitions = max(2 * bridges, math.ceil(rate / (costs.partition_rate * HEADROOM)))
    cores = math.ceil(rate * (costs.bridge_core_us + costs.triton_core_us) / 1e6 / HEADROOM)
    watts = gpus * costs.gpu_watts + cores * costs.core_watts + brokers * costs.broker_watts
    return Plan(
        bridges=bridges,
        cores=cores,
        partitions=partitions,
        brokers=brokers,
        gpus=gpus,
        ingress_gbit=rate * costs.image_bytes * 8 / 1e9,
        first=max(exact, key=lambda part: exact[part] / counts[part]),
        watt_hours_per_million=watts * 1e6 / rate / 3600,
    )
