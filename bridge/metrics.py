"""Every metric of the bridge, and cheap ways to count a batch at a time."""

from collections import Counter as Occurrences
from collections.abc import Iterable, Sequence
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)

from bridge.accounts import Accounts
from bridge.histogram import BatchHistogram
from bridge.kafka.statistics import Statistics

_SECONDS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
MAX_LABELS, MAX_LABEL = 100, 100
"""Number of labels of a model that have a series of their own, and characters of each at most."""
OTHER = "other"
PROCESS = (
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds",
    "process_open_fds",
    "process_max_fds",
)
_BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Metrics:
    """The bridge's metrics; label values come from fixed sets, never from a message.

    The servers are those of the setting, at most `MAX_SERVERS` at a time; `forget_server` removes a
    server's series. docs/metrics.md is generated from the texts below.

    Attributes:
        labels: the names of each metric's labels, by the metric's name.
    """

    def __init__(self) -> None:
        self._labels_seen: set[str] = set()
        self.registry = registry = CollectorRegistry()
        self.labels: dict[str, tuple[str, ...]] = {}
        # Off: they would add a series to each counter, for which nobody has a use.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.labels |= dict.fromkeys(PROCESS, ())
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            self.labels[name] = labels
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            self.labels[name] = labels
            return Gauge(name, text, labels, registry=registry)

        def histogram(
            name: str, text: str, bounds: Sequence[float], label: str | None = None
        ) -> BatchHistogram:
            self.labels[name] = () if label is None else (label,)
            return BatchHistogram(registry, name, text, bounds, label)

        self.build = gauge(
            "bridge_build",
            "Always 1; the labels say which versions this bridge is made of, and a digest of its "
            "settings without passwords: bridges that should be alike have the same.",
            "version",
            "python",
            "librdkafka",
            "settings",
        )
        self.images = Accounts()
        self.labels |= self.images.LABELS
        registry.register(self.images)
        self.requests = counter(
            "bridge_requests",
            "Requests to Triton that ended, by outcome: ok, invalid (an image can never succeed), "
            "internal (the model failed) or transient (nothing about the images).",
            "outcome",
        )
        self.retries = counter(
            "bridge_image_retries",
            "Images that are sent to Triton again, by the gRPC status of the request that failed.",
            "status",
        )
        self.commits = counter(
            "bridge_commits",
            "Commits of offsets (exactly once: transactions), by outcome: ok or failed.",
            "outcome",
        )
        self.rebalances = counter(
            "bridge_rebalances",
            "Changes of this bridge's assignment, by kind: assigned, revoked or lost.",
            "kind",
        )
        self.fetches = counter(
            "bridge_fetches",
            "Requests for objects that ended, by outcome: ok, refused (the object can never be "
            "had) or transient (nothing about the object: it is fetched again).",
            "outcome",
        )
        self.fetched_bytes = counter(
            "bridge_fetched_bytes", "Bytes of the objects that were fetched."
        )
        self.fetches_in_flight = gauge(
            "bridge_fetches_in_flight", "Objects that are being fetched."
        )
        self.fetch_seconds = histogram(
            "bridge_fetch_seconds",
            "Time from the request for an object to its last byte, by the kind of store: s3, gs "
            "or az.",
            _SECONDS,
            "store",
        )
        self.in_flight = gauge(
            "bridge_requests_in_flight", "Requests that Triton has not answered yet."
        )
        self.server_up = gauge(
            "bridge_triton_up", "1 while this Triton gets images, else 0.", "server"
        )
        self.server_in_flight = gauge(
            "bridge_triton_in_flight", "Requests that this Triton has not answered yet.", "server"
        )
        self.server_requests = counter(
            "bridge_triton_requests",
            "Requests to this Triton that ended, by outcome: ok, invalid, internal, transient, or "
            "moved to another.",
            "server",
            "outcome",
        )
        self.predictions = counter(
            "bridge_predictions",
            f"Predictions by their first label: the first {MAX_LABELS} labels that come, and "
            '"other".',
            "label",
        )
        self.oldest = gauge(
            "bridge_oldest_image_age_seconds",
            "How long the oldest image in flight has been with this bridge; 0: there is none.",
        )
        self.decoder_deaths = counter(
            "bridge_decoder_deaths",
            "Decoder processes that died, or were ended because they did not answer; each is "
            "replaced.",
        )
        self.brokers_up = gauge(
            "bridge_kafka_brokers_up", "Brokers of Kafka that this bridge is connected to."
        )
        self.rtt = gauge(
            "bridge_kafka_rtt_seconds",
            "Mean time from a request of this bridge's producer to its answer, of the broker that "
            "takes longest, in the last five seconds.",
        )
        self.throttle = gauge(
            "bridge_kafka_throttle_seconds",
            "The longest that a broker has delayed an answer to this client (consumer or producer) "
            "because of a quota, in the last five seconds.",
            "client",
        )
        self.client_requests = gauge(
            "bridge_kafka_requests_waiting",
            "Requests of this client (consumer or producer) that no broker has answered yet.",
            "client",
        )
        self.queued = gauge(
            "bridge_kafka_queued_records",
            "Records in the queue of this client: fetched and not taken yet (consumer), or not "
            "acknowledged yet (producer).",
            "client",
        )
        self.queued_bytes = gauge(
            "bridge_kafka_queued_bytes", "Bytes of the records in that queue.", "client"
        )
        self.partitions = gauge(
            "bridge_partitions_assigned", "Partitions that are assigned to this bridge."
        )
        self.paused = gauge(
            "bridge_partitions_paused",
            "Assigned partitions that are not fetched from, because the bridge holds as many "
            "images or bytes as it may.",
        )
        self.assignment_changes = gauge(
            "bridge_assignment_changes", "Changes of the assignment since the bridge was built."
        )
        self.lag = gauge(
            "bridge_consumer_lag",
            "Images of the partition that are not finished: unread, or in flight.",
            "partition",
        )
        self.blown = gauge(
            "bridge_fuse_blown",
            "1 when the fuse has blown: nothing is fetched until a restart; else 0.",
        )
        self.ready = gauge(
            "bridge_ready", "1 while /health/ready succeeds, so that images are answered; else 0."
        )
        self.expired = counter(
            "bridge_images_lost_to_retention",
            "Images that Kafka deleted before they were read.",
        )
        self.names = gauge(
            "bridge_reads",
            "Always 1; the labels say which topic this bridge reads, and in which group.",
            "topic",
            "consumergroup",
        )
        """It has the labels of Kafka's exporter, so that rules need not name topic and group."""
        """Computed at each scrape; `App` sets the function."""
        self.stages = histogram(
            "bridge_stage_seconds",
            "Time of an answered image in each stage; docs/glossary.md says where each begins and "
            "ends. Together they are bridge_prediction_latency_seconds.",
            _SECONDS,
            "stage",
        )
        self.prediction_latency = histogram(
            "bridge_prediction_latency_seconds",
            "Time of an answered image from its intended time to Triton's answer.",
            _SECONDS,
        )
        self.decoder = histogram(
            "bridge_decoder_seconds",
            "Time that a decoder worked on an image, without the wait for the decoder.",
            _SECONDS,
        )
        self.batches = histogram(
            "bridge_batch_images",
            "Images in each request to Triton, by the model's name.",
            _BATCHES,
            "model",
        )

    def count_predictions(self, labels: Iterable[str]) -> None:
        """Count predictions by their first label; labels come from the model, so they are
        bounded."""
        for label, count in Occurrences(labels).items():
            shown = label[:MAX_LABEL]
            if shown not in self._labels_seen:
                if len(self._labels_seen) < MAX_LABELS:
                    self._labels_seen.add(shown)
                else:
                    shown = OTHER
            self.predictions.labels(shown).inc(count)

    def tell_client(self, client: Literal["consumer", "producer"], seen: Statistics) -> None:
        """Set the metrics of one of Kafka's clients from its statistics, which come every 5 s."""
        if client == "producer":
            self.rtt.set(seen.rtt_s)
        self.throttle.labels(client).set(seen.throttle_s)
        self.client_requests.labels(client).set(seen.requests)
        self.queued.labels(client).set(seen.records)
        self.queued_bytes.labels(client).set(seen.record_bytes)

    def forget_server(self, server: str) -> None:
        for metric in (self.server_up, self.server_in_flight, self.server_requests):
            metric.remove_by_labels({"server": server})
