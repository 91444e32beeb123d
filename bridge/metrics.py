"""Every metric of the bridge, and the cheap way to count a batch at a time."""

from collections.abc import Iterable, Sequence
from threading import Lock

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
PENDING = 2048
"""Observations that are counted together: numpy's calls cost more than what they count."""
_BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class BatchHistogram(Collector):
    """A histogram that takes many observations in one call.

    The library's own costs a few microseconds an observation, several of them for each image.
    """

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, bounds: Sequence[float], label: str
    ) -> None:
        self._name, self._text, self._label = name, text, label
        self._bounds = np.asarray(bounds)
        self._lock = Lock()
        self._pending: dict[str, list[float]] = {}
        self._counts: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        self._sums: dict[str, float] = {}
        registry.register(self)

    def observe(self, label: str, values: Sequence[float]) -> None:
        """Add observations under one label value (which the program names, never a message)."""
        with self._lock:
            pending = self._pending.setdefault(label, [])
            pending.extend(values)
            if len(pending) >= PENDING:
                self._count(label)

    def _count(self, label: str) -> None:
        array = np.asarray(self._pending.pop(label), np.float64)
        places = np.searchsorted(self._bounds, array)
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        if label not in self._counts:
            self._counts[label] = np.zeros(len(self._bounds) + 1, np.int64)
            self._sums[label] = 0.0
        self._counts[label] += counts
        self._sums[label] += float(array.sum())

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=[self._label])
        names = [str(bound) for bound in self._bounds] + ["+Inf"]
        with self._lock:
            for label in list(self._pending):
                self._count(label)
            for label, counts in self._counts.items():
                buckets = list(zip(names, np.cumsum(counts).tolist(), strict=True))
                family.add_metric([label], buckets, self._sums[label])
        yield family


class Metrics:
    """The bridge's metrics; label values are all from fixed sets, never from a message."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self.received = counter("bridge_images_received", "Images taken from Kafka")
        self.answered = counter("bridge_images_answered", "Images whose prediction was published")
        self.dead = counter(
            "bridge_images_dead_lettered", "Images that can never succeed", "stage", "reason"
        )
        self.dropped = counter(
            "bridge_images_dropped", "Images in hand when their partition went to another bridge"
        )
        self.requests = counter("bridge_requests", "Requests to Triton by outcome", "outcome")
        self.retries = counter("bridge_image_retries", "Images sent to Triton again", "status")
        self.commits = counter("bridge_commits", "Offset commits by outcome", "outcome")
        self.rebalances = counter("bridge_rebalances", "Changes of the assignment", "kind")
        self.in_hand = gauge("bridge_images_in_hand", "Images received and not yet done with")
        self.in_hand_bytes = gauge("bridge_in_hand_bytes", "Bytes of those images")
        self.in_flight = gauge("bridge_requests_in_flight", "Requests with Triton")
        self.partitions = gauge("bridge_partitions_assigned", "Partitions of this bridge")
        self.paused = gauge("bridge_partitions_paused", "Of these, paused because all is full")
        self.epoch = gauge("bridge_assignment_epoch", "Assignments since the start")
        self.lag = gauge(
            "bridge_consumer_lag", "Images that are not done with: unread, or in hand", "partition"
        )
        self.expired = counter(
            "bridge_images_lost_to_retention", "Images that Kafka deleted before they were read"
        )
        self.names = gauge(
            "bridge_reads",
            "Is 1; its labels say which topic this bridge reads, in which group",
            "topic",
            "consumergroup",
        )
        """With the labels of Kafka's exporter, so that rules need not name topic and group."""
        self.ready = gauge("bridge_ready", "1 when images are being answered")
        """Asked at each scrape: `App` says how."""
        self.stages = BatchHistogram(
            registry, "bridge_stage_seconds", "Time of an image in each stage", _SECONDS, "stage"
        )
        self.batches = BatchHistogram(
            registry, "bridge_batch_images", "Images in a request to Triton", _BATCHES, "model"
        )
