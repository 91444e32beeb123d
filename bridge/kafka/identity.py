"""Notices that a topic was deleted and created again. Kafka's client does not: it reads on at its
old offsets, which then mean other records."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

EVERY_S = 5.0
"""Seconds between two questions."""
TIMEOUT_S = 10.0
"""Bound in seconds on an answer."""
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""What is answered by brokers that have no ids of topics (before Kafka 2.8)."""


class TopicReplacedError(Exception):
    """The images topic is another one of the same name; the text says what to do."""


class TopicIdentity:
    """Compares a topic's id with the first one that was seen.

    Args:
        make: makes the client that asks.
    """

    def __init__(
        self,
        make: Callable[[], AdminClient],
        topic: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = make()
        self._topic = topic
        self._clock = clock
        self._first: str | None = None
        self._asked: Future[Any] | None = None
        self._ask_at = 0.0
        self._ask()  # at once: before the first image is read

    def _ask(self) -> None:
        self._ask_at = self._clock() + EVERY_S
        self._asked = self._admin.describe_topics(
            TopicCollection([self._topic]), request_timeout=TIMEOUT_S
        )[self._topic]

    def check(self) -> None:
        """Ask now and then; does not wait for the answer, which the next calls look at.

        Raises:
            TopicReplacedError: it is another topic of the same name.
        """
        self._admin.poll(0)  # its log lines, which would be kept otherwise
        if self._asked is None:
            if self._clock() >= self._ask_at:
                self._ask()
        elif self._asked.done():
            asked, self._asked = self._asked, None
            try:
                found = str(asked.result().topic_id)
            except KafkaException:
                return  # it does not exist now, or no broker answers
            if found == NO_ID:
                return
            if self._first is None:
                self._first = found
            elif found != self._first:
                raise TopicReplacedError(
                    f"the topic {self._topic} was deleted and created again while this bridge read "
                    "it. Images at the beginning of the new topic may have been passed over: the "
                    "group's offsets are those of the old one. To have them answered, stop the "
                    "group's bridges, set its offsets back (kafka-consumer-groups.sh "
                    "--reset-offsets --to-earliest --execute), and start them again"
                )
