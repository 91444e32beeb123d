"""Where the producer sends to Kafka: every image is acknowledged, failed or still pending."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cli.clients import CONNECT_S, client_config, connected, explain, make_client, reason
from cli.topics import TopicError, find_partitions
from wire.record import Outgoing

MAX_MESSAGE_BYTES = 32 << 20
"""Larger than any image that the bridge accepts: the broker and the bridge decide, not the
client."""
QUEUE_KBYTES = 256 << 10
"""Bound on the memory of unacknowledged images in KiB: a quarter of librdkafka's own default of 1
GiB."""
POLL_SECONDS = 0.1
STATISTICS_MS = 100
"""Milliseconds between two reports of librdkafka's state, which show when the producer id is
there."""


_GIVEN_UP = {
    KafkaError._PURGE_QUEUE: "not sent in time",
    KafkaError._PURGE_INFLIGHT: "sent, not acknowledged in time: Kafka may have it",
}
"""What librdkafka calls purged: given up at the end of --flush-timeout, or at a second signal."""


class SendError(Exception):
    """Kafka accepts no more images; the text says why."""


def librdkafka_config(brokers: str, options: Mapping[str, str]) -> dict[str, Any]:
    """The producer's settings; `options` (any librdkafka option) override them."""
    defaults = {
        "enable.idempotence": True,
        # Waiting to fill a Kafka batch would be measured as latency.
        "linger.ms": 0,
        "statistics.interval.ms": STATISTICS_MS,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.kbytes": QUEUE_KBYTES,
    }
    return client_config(brokers, "image-producer", {**defaults, **options})


class Sender:
    """Sends records and accounts for each: handed over = acknowledged + failed + pending.

    Attributes:
        handed_over: records given to `send`.
        acknowledged: records that Kafka has stored.
        failed: records refused, by reason.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        queue_timeout: float,
        connect_timeout: float | None,
    ) -> None:
        """Connect, and find the topic.

        Args:
            config: librdkafka options.
            topic: topic of the images.
            queue_timeout: seconds to wait while the local queue is full.
            connect_timeout: seconds to reach a broker and find the topic; None: as `reach` does.

        Raises:
            KafkaSettingError: librdkafka refuses an option.
            SendError: no broker is reached, or the topic does not exist.
        """
        self.handed_over = 0
        self.acknowledged = 0
        self.failed: Counter[str] = Counter()
        self._ready = str(config.get("statistics.interval.ms", 0)) == "0"
        self._topic = topic
        self._queue_timeout = queue_timeout
        brokers = config["bootstrap.servers"]
        self._producer = make_client(
            Producer, {**config, "on_delivery": self._delivered, "stats_cb": self._statistics}
        )
        try:
            find_partitions(self._producer, config, topic, connect_timeout)
        except TopicError as error:
            raise SendError(str(error)) from None
        except KafkaException as error:
            why = explain(self._producer, config, error)
            raise SendError(f"cannot use Kafka at {brokers}: {why}") from None
        connected(config)
        self._await_producer_id(CONNECT_S if connect_timeout is None else connect_timeout)

    @property
    def pending(self) -> int:
        """Number of records that are neither acknowledged nor failed yet."""
        return self.handed_over - self.acknowledged - self.failed.total()

    def serve(self, seconds: float) -> None:
        """Take delivery reports for up to `seconds`; returns early once some have come."""
        self._producer.poll(seconds)

    def send(self, record: Outgoing, stop: Callable[[], bool]) -> None:
        """Queue a record; waits while the local queue is full, until `stop` returns True.

        Raises:
            SendError: the queue stayed full for `queue_timeout`, or the client has failed for good.
        """
        self.handed_over += 1
        deadline = time.monotonic() + self._queue_timeout
        while True:
            try:
                self._producer.produce(
                    self._topic, record.value, record.key, headers=list(record.headers)
                )
            except BufferError:
                if stop():
                    self.failed["not queued: stopped while the local queue was full"] += 1
                    return
                if time.monotonic() >= deadline:
                    full = f"the local queue stayed full for {self._queue_timeout:g} s"
                    self.failed[f"not queued: {full}"] += 1
                    raise SendError(f"{full}: is Kafka reachable and fast enough?") from None
                self._producer.poll(POLL_SECONDS)
            except KafkaException as error:
                self.failed[reason(error)] += 1
                if isinstance(error.args[0], KafkaError) and error.args[0].fatal():
                    raise SendError(f"the Kafka client has failed: {reason(error)}") from None
                return
            else:
                return

    def flush(self, seconds: float, stop: Callable[[], bool]) -> int:
        """Wait for outstanding reports until `stop` returns True; returns how many are still
        pending."""
        deadline = time.monotonic() + seconds
        while self.pending and time.monotonic() < deadline and not stop():
            self._producer.flush(POLL_SECONDS)
        return self.pending

    def close(self) -> None:
        """Give up records that are still pending, so that the process can end."""
        self._producer.purge()
        self._producer.flush(POLL_SECONDS)

    def _await_producer_id(self, seconds: float) -> None:
        # An idempotent producer sends nothing before the broker has given it an id, which may take
        # half a second: the first images must not wait for that. Without statistics, the id is not
        # awaited.
        deadline = time.monotonic() + seconds
        while not self._ready and time.monotonic() < deadline:
            self._producer.poll(POLL_SECONDS)

    def _statistics(self, text: str) -> None:
        if not self._ready:
            state = orjson.loads(text).get("eos", {}).get("idemp_state", "Assigned")
            self._ready = state == "Assigned"

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.failed[_GIVEN_UP.get(error.code(), error.str())] += 1
