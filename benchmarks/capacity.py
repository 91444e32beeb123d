"""How many bridges, partitions, brokers and GPUs a stream of images needs. Pure but for `main`."""

import math
from dataclasses import dataclass
from typing import Annotated

import typer

HEADROOM = 0.6
"""Share of what a part can do that is planned with: the rest is for peaks, rebalances, and a part
that is lost."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one of each part does; the defaults' sources are in docs/scaling.md.

    Attributes:
        image_bytes: of an image message with its headers.
        prediction_bytes: of a prediction with its headers.
        bridge_rate: images/s of one bridge process.
        bridge_cores: CPU cores that a bridge at that rate keeps busy.
        gpu_rate: images/s of the model on one GPU, through Triton.
        gpu_watts: of a GPU at that rate, its share of the host included.
        broker_bytes: bytes/s that one broker writes, replication included.
        partition_bytes: bytes/s of one partition.
        core_watts: of a busy core.
        replication: copies of each record.
        gpu_hour: price of a GPU for an hour, its host included; any currency.
        core_hour: price of a core for an hour.
    """

    image_bytes: int = 3_300
    prediction_bytes: int = 600
    bridge_rate: float = 8_000
    bridge_cores: float = 1.0
    gpu_rate: float = 20_000
    gpu_watts: float = 700
    broker_bytes: float = 200e6
    partition_bytes: float = 10e6
    core_watts: float = 8
    replication: int = 3
    gpu_hour: float = 3.0
    core_hour: float = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stream needs.

    Attributes:
        ingress_gbit: images into Kafka, before replication.
        first: the part with the least room: what saturates first.
        watts_per_million, price_per_million: for a million images.
    """

    bridges: int
    bridge_cores: int
    partitions: int
    brokers: int
    gpus: int
    ingress_gbit: float
    first: str
    watt_hours_per_million: float
    price_per_million: float


def plan(rate: float, costs: Costs) -> Plan:
    """Size everything for `rate` images/s, with `HEADROOM`.

    Raises:
        ValueError: a rate that is not positive.
    """
    if rate <= 0:
        raise ValueError(f"a rate is positive, not {rate}")
    images = rate * costs.image_bytes
    written = (images + rate * costs.prediction_bytes) * costs.replication
    exact = {
        "bridge": rate / (costs.bridge_rate * HEADROOM),
        "GPU": rate / (costs.gpu_rate * HEADROOM),
        "broker": written / (costs.broker_bytes * HEADROOM),
    }
    bridges, gpus = math.ceil(exact["bridge"]), math.ceil(exact["GPU"])
    # A record has as many copies as brokers to keep them.
    brokers = max(costs.replication, math.ceil(exact["broker"]))
    counts = {"bridge": bridges, "GPU": gpus, "broker": brokers}
    # Twice as many as bridges, so that bridges can be added without touching the topic.
    partitions = max(2 * bridges, math.ceil(images / (costs.partition_bytes * HEADROOM)))
    cores = math.ceil(bridges * costs.bridge_cores)
    watts = gpus * costs.gpu_watts + cores * costs.core_watts
    price = gpus * costs.gpu_hour + cores * costs.core_hour
    hours_per_million = 1e6 / rate / 3600
    return Plan(
        bridges=bridges,
        bridge_cores=cores,
        partitions=partitions,
        brokers=brokers,
        gpus=gpus,
        ingress_gbit=images * 8 / 1e9,
        first=max(exact, key=lambda part: exact[part] / counts[part]),
        watt_hours_per_million=watts * hours_per_million,
        price_per_million=price * hours_per_million,
    )


def main(
    rate: Annotated[float, typer.Argument(min=1, help="Images/s.")],
    image_bytes: Annotated[int, typer.Option(min=1)] = 3_300,
    bridge_rate: Annotated[float, typer.Option(min=1)] = 8_000,
    gpu_rate: Annotated[float, typer.Option(min=1)] = 20_000,
) -> None:
    """What a stream of RATE images/s needs."""
    found = plan(rate, Costs(image_bytes=image_bytes, bridge_rate=bridge_rate, gpu_rate=gpu_rate))
    for name in Plan.__slots__:
        value = getattr(found, name)
        shown = f"{value:,.4g}" if isinstance(value, float) else str(value)
        typer.echo(f"{name.replace('_', ' '):24} {shown}")


if __name__ == "__main__":
    typer.run(main)
