"""The thread that reads Kafka for the view, and goes on reading whatever happens."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import KafkaError

from cli.clients import told
from consumer.liveview.view import View
from consumer.reader import ReadError, TopicReader, check, librdkafka_config

log = logging.getLogger("liveview")

POLL_SECONDS = 0.1
CONNECT_SECONDS = 3.0
"""Bound on one try to connect, in seconds; then it is tried again. A stop may take as long."""
RETRY_SECONDS = 2.0
REPEAT_SECONDS = 60.0
"""Time between two log lines while Kafka is away, in seconds; each broker that is tried gives a
reason of its own."""
MAX_BEHIND = 20_000
"""Most unread records in all partitions; more would mean seconds of delay that look like
latency."""

_DEFAULTS = {
    "client.id": "live-view",
    "group.id": "live-view",  # required by librdkafka; nothing is joined or committed
    # Shows, without a request, whether a broker is there and how far behind this reader is.
    "statistics.interval.ms": "1000",
    # Bound on what is fetched and not taken of each partition: the view follows new records.
    "queued.max.messages.kbytes": "4096",
}

# The view itself reports librdkafka's messages, once instead of many times a second.
_silent = logging.getLogger("liveview.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Feed:
    """Reads all partitions from their ends; joins no group and commits nothing.

    Problems are shown on the page and logged once; reading goes on by itself.

    Args:
        brokers: host:port, comma separated.
        options: any librdkafka option.
        topics: the topics to read.
        view: gets the records.

    Raises:
        KafkaSettingError: librdkafka refuses an option.
    """

    def __init__(
        self, brokers: str, options: Mapping[str, str], topics: Sequence[str], view: View
    ) -> None:
        self._brokers = brokers
        self._topics = topics
        self._view = view
        self._config: dict[str, Any] = {
            **librdkafka_config(brokers, {**_DEFAULTS, **options}),
            "error_cb": self._on_error,
            "stats_cb": self._on_statistics,
            "logger": _silent,
        }
        check(self._config)
        self._stop = threading.Event()
        self._connection_error = ""
        self._behind = 0
        self._reading = False
        self._in_trouble = False
        self._logged = float("-inf")
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._behind = 0
            self._connection_error = ""
            try:
                reader = TopicReader(self._config, self._topics, "latest", CONNECT_SECONDS)
            except ReadError as error:
                why = told(self._connection_error, self._config)
                self._say(self._unread(why) if why else str(error))
                self._stop.wait(RETRY_SECONDS)
                continue
            self._say(None)
            self._reading = True
            try:
                self._read(reader)
            except ReadError as error:
                self._say(str(error))
                self._stop.wait(RETRY_SECONDS)
            finally:
                self._reading = False
                reader.close()

    def _read(self, reader: TopicReader) -> None:
        """Read until the stop, or until too much is unread: then a new reader starts at the
        ends."""
        while not self._stop.is_set():
            received = reader.poll(POLL_SECONDS)
            if received is not None:
                self._view.take(received)
            if self._behind > MAX_BEHIND:
                log.warning("passed over %d records to stay with what happens now", self._behind)
                self._view.skipped(self._behind)
                return

    def _unread(self, why: str) -> str:
        return f"cannot read from Kafka at {self._brokers}: {why}"

    def _say(self, trouble: str | None) -> None:
        self._view.set_trouble(trouble)
        if trouble is None:
            if self._in_trouble:
                log.info("reading from Kafka at %s", self._brokers)
                self._logged = float("-inf")
        elif time.monotonic() - self._logged > REPEAT_SECONDS:
            log.warning("%s; trying again", trouble)
            self._logged = time.monotonic()
        self._in_trouble = trouble is not None

    def _on_error(self, error: KafkaError) -> None:
        """Called within a poll; the statistics that follow show what the error means."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            reason = error.str().partition(" (after ")[0]
            self._connection_error = reason

    def _on_statistics(self, text: str) -> None:
        """Called within a poll."""
        found = orjson.loads(text)
        # A client lists a broker by its address and again by its number: one of them is enough.
        connected = any(broker["state"] == "UP" for broker in found["brokers"].values())
        if self._reading:
            nobody = self._unread(self._connection_error or "no broker answers")
            self._say(None if connected else nobody)
        self._behind = sum(
            max(0, partition["consumer_lag_stored"])
            for topic in found["topics"].values()
            for partition in topic["partitions"].values()
        )
