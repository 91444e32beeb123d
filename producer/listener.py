"""A thread that reads the outcomes of the images of this run."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cli.clients import CONNECT_S, client_config, connected, explain, make_client
from cli.topics import TopicError, end_offset, find_partitions
from producer.naming import Names
from wire.deadletter import EXPIRED, decode_dead_letter
from wire.image import image_id
from wire.prediction import Prediction, decode_prediction
from wire.record import ContractError, KafkaRecord, StoredRecord, first_headers, read_record

POLL_SECONDS = 0.2

Outcome = Literal["answered", "dead-lettered", "expired"]


class ListenError(Exception):
    """The outcomes cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes that came back: each image is counted once, and each repetition in `duplicates`."""

    answered: int
    dead_lettered: int
    duplicates: int
    labelled: int
    correct: int
    unreadable: int
    expired: int = 0

    @property
    def resolved(self) -> int:
        return self.answered + self.dead_lettered + self.expired


class Results:
    """Counts the outcome of images known by their sequence number; one byte of memory for each
    image."""

    def __init__(self, labels: Sequence[str | None]) -> None:
        """Args: labels: true class names; image i has label i modulo their number."""
        self._labels = labels
        self._seen = bytearray()
        self._answered = self._dead = self._duplicates = self._labelled = self._correct = 0
        self._unreadable = self._expired = 0

    def add(self, sequence: int, outcome: Outcome, best: str | None = None) -> None:
        """Count a prediction or dead letter of image `sequence`.

        Args:
            best: the first label; None: the answer has no classes, and is neither right nor wrong.
        """
        if sequence >= len(self._seen):
            self._seen.extend(bytes(sequence + 1 - len(self._seen)))
        if self._seen[sequence]:
            self._duplicates += 1
            return
        self._seen[sequence] = 1
        if outcome == "dead-lettered":
            self._dead += 1
            return
        if outcome == "expired":
            self._expired += 1
            return
        self._answered += 1
        label = self._labels[sequence % len(self._labels)]
        if label is not None and best is not None:
            self._labelled += 1
            self._correct += label == best

    def unreadable(self) -> None:
        """Count a record that does not fit its topic, and belongs to this run as far as can be
        seen."""
        self._unreadable += 1

    def tally(self) -> Tally:
        return Tally(
            self._answered,
            self._dead,
            self._duplicates,
            self._labelled,
            self._correct,
            self._unreadable,
            self._expired,
        )


class Listener:
    """Follows the predictions and dead letters of one run from the moment it is made.

    It belongs to no consumer group and commits nothing.
    """

    def __init__(
        self,
        brokers: str,
        options: Mapping[str, str],
        predictions_topics: Sequence[str],
        dead_letters_topic: str,
        run_id: str,
        names: Names,
        labels: Sequence[str | None],
        limit: int,
        timeout: float | None,
        decode: Callable[[KafkaRecord], Prediction] = decode_prediction,
    ) -> None:
        """Start at the end of both topics, before the first image is sent.

        Args:
            brokers: `host:port`, comma separated.
            options: librdkafka options.
            predictions_topics: topics of the predictions.
            dead_letters_topic: topic of the dead letters.
            run_id: only outcomes of this run count.
            names: the ids of the images.
            labels: true class names; image i has label i modulo their number.
            limit: sequence numbers from this one on belong to other runs, whatever a record claims.
            timeout: seconds to reach Kafka; None: as `reach` does.
            decode: reads a prediction.

        Raises:
            KafkaSettingError: librdkafka refuses an option.
            ListenError: no broker is reached, or a topic does not exist.
        """
        self._results = Results(labels)
        self._run_id = run_id.encode()
        self._decode = decode
        self._names = names
        self._limit = limit
        self._dead_letters_topic = dead_letters_topic
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._failure: str | None = None
        config = client_config(
            brokers,
            "image-producer-listener",
            {"group.id": f"image-producer-{run_id}", "enable.auto.commit": False, **options},
        )
        self._consumer = make_client(Consumer, config)
        try:
            self._assign((*predictions_topics, dead_letters_topic), config, timeout)
        except TopicError as error:
            self._consumer.close()
            raise ListenError(f"cannot listen for results: {error}") from None
        except KafkaException as error:
            why = explain(self._consumer, config, error)
            self._consumer.close()
            raise ListenError(f"cannot listen for results at {brokers}: {why}") from None
        connected(config)
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._thread.start()

    def tally(self) -> Tally:
        with self._changed:
            return self._results.tally()

    def failure(self) -> str | None:
        """Why it has stopped listening; None while it listens."""
        return self._failure

    def wait_for_more(self, than: int, seconds: float) -> bool:
        """Wait until more than `than` images have an outcome; False after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._results.tally().resolved > than, seconds)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _assign(
        self, topics: Sequence[str], config: Mapping[str, Any], timeout: float | None
    ) -> None:
        # End offsets are looked up now: OFFSET_END would be looked up only at the first fetch, and
        # records that come in between would be missed.
        deadline = time.monotonic() + (CONNECT_S if timeout is None else timeout)
        assignment = []
        for topic in topics:
            for partition in find_partitions(self._consumer, config, topic, timeout):
                at = TopicPartition(topic, partition)
                at.offset = end_offset(self._consumer, at, deadline)
                assignment.append(at)
        self._consumer.assign(assignment)

    def _listen(self) -> None:
        try:
            while not self._stop.is_set():
                message = self._consumer.poll(POLL_SECONDS)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    self._take(read_record(message))
                elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    self._failure = error.str()
                    return
        except KafkaException as error:
            self._failure = str(error)

    def _take(self, message: StoredRecord) -> None:
        if message.unreadable is not None:
            with self._changed:
                self._results.unreadable()
            return
        if first_headers(message.headers()).get("ce_runid") != self._run_id:
            return
        with self._changed:
            sequence = self._sequence(image_id(message))
            if sequence is None:
                self._results.unreadable()
            elif message.topic() == self._dead_letters_topic:
                expired = decode_dead_letter(message).error_class == EXPIRED
                self._results.add(sequence, "expired" if expired else "dead-lettered")
            else:
                try:
                    top = self._decode(message).top
                except ContractError:
                    self._results.unreadable()
                else:
                    self._results.add(sequence, "answered", top[0]["label"] if top else None)
            self._changed.notify_all()

    def _sequence(self, id: str) -> int | None:
        sequence = self._names.sequence(id)
        return sequence if sequence is not None and sequence < self._limit else None
