"""Hands one record to Kafka's client, and finds what is published in place of a refused one."""

from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bridge.images import Publication
from bridge.kafka.delivery import DeliveryError
from wire.deadletter import INTERNAL
from wire.record import raw_bytes

log = structlog.get_logger()

REFUSALS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError.INVALID_RECORD: "invalid_record",  # one without a key, on a compacted topic
    KafkaError._INVALID_DIFFERENT_RECORD: "invalid_record",  # another record was invalid
}
"""Errors about the record or one beside it, as classes; all others are about the cluster."""


def produce(
    producer: Producer,
    publication: Publication,
    on_delivery: Callable[[KafkaError | None, Message], None],
) -> Publication:
    """Hand a record to the client, waiting while its queue is full.

    Returns:
        What the client took: a replacement, if it would never accept this record.

    Raises:
        DeliveryError: it will never accept the last replacement either, or no record at all.
        KafkaException: with the code `_STATE`: the transaction must be aborted.
    """
    while True:
        record = publication.record
        try:
            producer.produce(
                publication.topic,
                value=record.value,
                key=record.key,
                headers=record.headers,  # type: ignore[arg-type]  # a list is invariant
                on_delivery=on_delivery,
            )
            return publication
        except BufferError:
            if not len(producer):  # the record is larger than the whole queue
                publication = instead(publication, "too_large")
                continue
            producer.poll(0.1)  # the queue is full; each delivery report makes room
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError._STATE:
                raise
            if code not in REFUSALS:
                raise DeliveryError(f"topic {publication.topic}: {error}") from None
            publication = instead(publication, REFUSALS[code])
        except (TypeError, ValueError, OverflowError, SystemError):
            log.exception("record_not_taken", topic=publication.topic)
            publication = instead(publication, INTERNAL)


def instead(publication: Publication, refusal: str) -> Publication:
    """What is published in place of a record that is refused for what it is.

    The headers with the reason can push a dead letter over the limit that its image just met.

    Raises:
        DeliveryError: nothing is left that could be published.
        FuseBlownError: there are too many dead letters.
    """
    other = None if publication.instead is None else publication.instead(refusal)
    key = repr(raw_bytes(publication.record.key)[:64])
    if other is None:
        raise DeliveryError(
            f"topic {publication.topic}: Kafka refuses even the smallest record about an image "
            f"({refusal}; key {key}): raise the topic's max.message.bytes to 4096 or more"
        )
    log.warning(
        "record_refused", topic=publication.topic, reason=refusal, key=key,
        size=len(raw_bytes(publication.record.value)), instead=other.topic,
    )  # fmt: skip
    return other
