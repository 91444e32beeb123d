"""Builds a bridge from its settings and from Triton's description of the model."""

import os
import platform
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError

from bridge.backoff import Backoff
from bridge.batching import Batcher
from bridge.config import ConfigError, Settings
from bridge.fuse import Fuse
from bridge.images import DecodedImage, Publication
from bridge.kafka.assignment import Assignment
from bridge.kafka.at_least_once import AtLeastOnce
from bridge.kafka.batches import after_batch
from bridge.kafka.clients import consumer_option, make_admin, make_producer, make_reader
from bridge.kafka.delivery import Delivery
from bridge.kafka.exactly_once import ExactlyOnce
from bridge.kafka.group import commit_metadata
from bridge.kafka.identity import TopicIdentity
from bridge.kafka.intake import Intake
from bridge.kafka.membership import Membership
from bridge.kafka.statistics import read_statistics
from bridge.kafka.transaction_size import TransactionSize
from bridge.kafka.watch import Watch
from bridge.metrics import Metrics
from bridge.outlet import Outlet
from bridge.parts import Parts
from bridge.pipeline import Pipeline
from bridge.predicting import Predictions
from bridge.reading import ImageReader
from bridge.references.finding import References
from bridge.room import Room, room_for
from bridge.routing import Routes
from bridge.triton.model import ModelSpec
from bridge.triton.pool import Pool
from cli.app import install
from imaging.rules import ImageRules
from storage.allowed import AllowList, parse_allow_list
from wire.passing import PassedHeaders, read_patterns
from wire.prediction import Serializer

if TYPE_CHECKING:
    from bridge.references.fetcher import Fetcher
    from bridge.tracing import BridgeTracing

FETCHES_IN_FLIGHT = 256
"""Images that may be in flight in addition where some are fetched from object storage. It is twice
the number of simultaneous fetches, so that the next images are known when one has been fetched."""


@dataclass(frozen=True, slots=True)
class Events:
    """What the parts of a bridge report to their owner; each may be called on any thread.

    Attributes:
        failed: called with the error that makes it impossible to go on.
        has_failed: whether `failed` was called.
        kafka_error: called with an error of Kafka's client.
    """

    failed: Callable[[Exception], None]
    has_failed: Callable[[], bool]
    kafka_error: Callable[[KafkaError], None]

    def transactions_error(self, error: KafkaError) -> None:
        """Report an error of a transactional producer."""
        if not error.fatal():
            self.kafka_error(error)  # the next call raises a fatal one, which is handled there


def build(
    settings: Settings,
    spec: ModelSpec,
    pool: Pool,
    consumer: Consumer,
    *,
    membership: Membership,
    metrics: Metrics,
    transactional_id: str,
    transaction_size: TransactionSize,
    serializer: Serializer | None,
    tracing: "BridgeTracing | None",
    events: Events,
) -> Parts:
    """Put a bridge together; nothing is started.

    Args:
        transaction_size: the same for each bridge of this process.
        serializer: writes predictions; None: they are JSON.
        tracing: None where tracing is off.

    Raises:
        KafkaSettingError: Kafka's client does not accept an option.
    """
    allowed = parse_allow_list(settings.reference_allow)
    assignment: Assignment[Publication] = Assignment(metrics.images)
    watch = Watch(
        consumer,
        membership,
        assignment,
        metrics,
        topic=settings.images_topic,
        model=spec.name,
        identity=TopicIdentity(partial(make_admin, settings), settings.images_topic),
    )
    delivery = _make_delivery(
        settings,
        consumer,
        assignment,
        metrics,
        spec.name,
        transactional_id,
        transaction_size,
        events,
    )

    pixel_bytes = prod(spec.shape or (0,)) * spec.input.tensor.itemsize

    def room(slots: int) -> Room:
        return room_for(
            slots,
            spec.max_batch,
            pixel_bytes,
            images=settings.max_buffered_images,
            size=settings.max_buffered_bytes,
            largest=settings.max_image_bytes,
            # A distant store needs more images in flight.
            fetched=FETCHES_IN_FLIGHT if allowed else 0,
        )

    batcher: Batcher[DecodedImage] = Batcher(
        spec.max_batch, pool.slots, settings.retry_min_s, settings.retry_max_s,
        max_failures=settings.max_attempts,
    )  # fmt: skip
    outlet = Outlet(
        predictions=Predictions(
            model=spec.name,
            source=f"bridge/{platform.node()}/{os.getpid()}",
            routes=Routes(settings.predictions_topic, settings.route_by, settings.routes),
            passed=PassedHeaders(read_patterns(settings.pass_headers)),
            min_score=settings.min_score,
            tracing=tracing,
            serializer=serializer,
        ),
        dead_letters_topic=settings.dead_letters_topic,
        delivery=delivery,
        assignment=assignment,
        fuse=Fuse(settings.fuse_consecutive, settings.fuse_ratio, settings.fuse_window),
        metrics=metrics,
        freshness=settings.freshness,
        tracing=tracing,
    )
    fetcher = _make_fetcher(settings, allowed, assignment, metrics, events, room(pool.slots).size)
    reader = ImageReader(
        rules=ImageRules(
            spec.shape,
            spec.preprocess,
            settings.max_image_bytes,
            settings.max_pixels,
            spec.input.tensor,
        ),
        decoders=settings.decoders,
        outlet=outlet,
        references=References(
            allowed,
            settings.reference_field,
            outlet,
            assignment,
            None if fetcher is None else fetcher.fetch,
            pixel_bytes,
        ),
        metrics=metrics,
        wrapping=settings.wrapping,
        freshness=settings.freshness,
        tracing=tracing,
    )
    pipeline = Pipeline(
        model=spec.name,
        reader=reader,
        inference=pool,
        batcher=batcher,
        outlet=outlet,
        max_attempts=settings.max_attempts,
        metrics=metrics,
        failed=events.failed,
        freshness=settings.freshness,
        tracing=tracing,
    )
    intake = Intake(
        consumer,
        settings.images_topic,
        assignment,
        metrics,
        take=pipeline.submit,
        delivery=delivery,
        pixel_bytes=pixel_bytes,
        unwrapped_bytes=settings.wrapping.extra_bytes,
        room=room(pool.slots),
        commit_interval_s=settings.commit_interval_s,
        drain_timeout_s=settings.drain_timeout_s,
        stalled=lambda: (
            events.has_failed()
            or pipeline.stalled
            or (fetcher is not None and fetcher.problem is not None)
        ),
        failed=events.failed,
        watch=watch,
        after_batch=partial(after_batch, partial(make_reader, settings)),
        broker_assigns=consumer_option(settings, "group.protocol") == "consumer",
    )
    return Parts(assignment, watch, delivery, fetcher, batcher, pipeline, intake, room)


def _make_delivery(
    settings: Settings,
    consumer: Consumer,
    assignment: Assignment[Publication],
    metrics: Metrics,
    model: str,
    transactional_id: str,
    transaction_size: TransactionSize,
    events: Events,
) -> Delivery:
    metadata = commit_metadata(model)

    def statistics(text: str) -> None:
        metrics.tell_client("producer", read_statistics(text))

    if settings.delivery == "at-least-once":
        producer = make_producer(settings, events.kafka_error, statistics, {})
        return AtLeastOnce(consumer, producer, assignment, metrics, events.failed, metadata)
    timeout_ms = int(settings.transaction_timeout_s * 1000)
    extra = {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": timeout_ms,
        # A transaction that cannot be delivered in time is aborted as a whole.
        "message.timeout.ms": timeout_ms,
    }
    return ExactlyOnce(
        consumer,
        make_producer(settings, events.transactions_error, statistics, extra),
        assignment,
        metrics,
        events.failed,
        timeout_s=settings.transaction_timeout_s,
        backoff=Backoff(settings.retry_min_s, settings.retry_max_s, random.random),
        size=transaction_size,
        metadata=metadata,
    )


def check_client(settings: Settings) -> None:
    """Refuse settings that allow fetching images while the package for it is not installed.

    Raises:
        ConfigError: the package is not installed.
    """
    if parse_allow_list(settings.reference_allow) and find_spec("obstore") is None:
        raise ConfigError(
            f"reference_allow needs obstore, which is not installed: {install('references')}"
        )


def _make_fetcher(
    settings: Settings,
    allowed: AllowList,
    assignment: Assignment[Publication],
    metrics: Metrics,
    events: Events,
    max_bytes: int,
) -> "Fetcher | None":
    """The fetcher of images in object storage; None where no image may be fetched."""
    if not allowed:
        return None
    # Imported here, so that a bridge without references needs neither the client nor its loop.
    from bridge.references.fetcher import Fetcher  # noqa: PLC0415
    from bridge.references.schedule import Schedule  # noqa: PLC0415
    from storage.client import Objects  # noqa: PLC0415

    stores = allowed.stores
    return Fetcher(
        lambda: Objects(stores, settings.request_timeout_s),
        schedule=Schedule(
            retry_min_s=settings.retry_min_s,
            retry_max_s=settings.retry_max_s,
            max_failures=settings.max_attempts,
            max_object=settings.max_image_bytes,
        ),
        assignment=assignment,
        metrics=metrics,
        max_bytes=max_bytes,
        max_object=settings.max_image_bytes,
        failed=events.failed,
    )
