"""What became of every image that was received, in sums that hold at every scrape."""

from collections import Counter
from collections.abc import Iterable
from threading import RLock
from typing import ClassVar, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Reason = tuple[str, str]
"""Stage and class of a dead letter."""


SKIPPED: Reason = ("", "skipped")
"""The reason of a record that has no image and needs no answer. It is not a dead letter."""


class Became(Protocol):
    """What an image became: a prediction, or a dead letter with its reason."""

    @property
    def reason(self) -> Reason | None: ...

    @property
    def silent(self) -> bool:
        """Whether nothing was published for the image."""
        ...


class Accounts(Collector):
    """Counts of images: received = answered + dead-lettered + expired + dropped + skipped + in
    flight.

    An image is counted as answered or as dead-lettered once its outcome is safe: acknowledged by
    Kafka, or committed with its transaction. Whoever counts holds `lock`, and so does each scrape.

    Attributes:
        bytes: memory in bytes that the images in flight take.
    """

    LABELS: ClassVar[dict[str, tuple[str, ...]]] = {
        "bridge_images_received": (),
        "bridge_images_answered": (),
        "bridge_images_dropped": (),
        "bridge_images_skipped": (),
        "bridge_images_in_flight": (),
        "bridge_images_in_flight_bytes": (),
        "bridge_images_dead_lettered": ("stage", "class"),
        "bridge_images_expired": ("stage",),
    }
    """The names of each metric's labels."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.received = 0
        self.answered = 0
        self.dead: Counter[Reason] = Counter()
        self.expired: Counter[str] = Counter()
        self.dropped = 0
        self.skipped = 0
        self.in_flight = 0
        self.bytes = 0

    def begin(self, size: int) -> None:
        """Count one more image in flight, which takes `size` bytes."""
        self.received += 1
        self.in_flight += 1
        self.bytes += size

    def split(self, count: int, more: int) -> None:
        """Count what was one image as `count` images, which hold `more` bytes more."""
        self.received += count - 1
        self.in_flight += count - 1
        self.bytes += more

    def end(self, size: int, became: Became | None) -> None:
        """Count an image that is no longer in flight; None: another bridge has it now."""
        self.in_flight -= 1
        self.bytes -= size
        if became is None:
            self.dropped += 1
        elif became.reason is None:
            self.answered += 1
        elif became.reason is SKIPPED:
            self.skipped += 1
        elif became.silent:
            self.expired[became.reason[0]] += 1
        else:
            self.dead[became.reason] += 1

    def close(self) -> None:
        """Count all that is in flight as dropped: the bridge ends, or is built again."""
        self.dropped += self.in_flight
        self.in_flight = self.bytes = 0

    def collect(self) -> Iterable[Metric]:
        dead = CounterMetricFamily(
            "bridge_images_dead_lettered",
            "Images that became a dead letter which is safe, by the stage that failed (contract, "
            "fetch, decode, infer or publish) and the class (dlq.error.class).",
            labels=self.LABELS["bridge_images_dead_lettered"],
        )
        expired = CounterMetricFamily(
            "bridge_images_expired",
            "Images older than --max-age that were dropped without a dead letter (--expired drop), "
            "by the stage that they waited for (decode or infer). With --expired dead-letter they "
            "are dead letters of the class expired.",
            labels=self.LABELS["bridge_images_expired"],
        )
        with self.lock:
            families: list[Metric] = [
                CounterMetricFamily(
                    "bridge_images_received", "Images that were taken from Kafka.", self.received
                ),
                CounterMetricFamily(
                    "bridge_images_answered",
                    "Images whose prediction is safe: acknowledged, or committed.",
                    self.answered,
                ),
                CounterMetricFamily(
                    "bridge_images_dropped",
                    "Images that were in flight when their partition went to another bridge, or "
                    "when this one ended; they are processed again.",
                    self.dropped,
                ),
                CounterMetricFamily(
                    "bridge_images_skipped",
                    "Records that have no image, and need no answer: an object store's test "
                    "message, or an event of another kind than the creation of an object.",
                    self.skipped,
                ),
                GaugeMetricFamily(
                    "bridge_images_in_flight",
                    "Images that were received and are not finished: no prediction or dead letter "
                    "of theirs is safe yet.",
                    self.in_flight,
                ),
                GaugeMetricFamily(
                    "bridge_images_in_flight_bytes",
                    "Memory that the records and the pixels of those images take.",
                    self.bytes,
                ),
            ]
            for reason, count in self.dead.items():
                dead.add_metric(reason, count)
            for stage, count in self.expired.items():
                expired.add_metric((stage,), count)
        return [*families, dead, expired]
