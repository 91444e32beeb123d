"""Puts the bridge together, runs it, and takes it apart again in the right order."""

import os
import platform
import random
import threading
import time
from functools import partial
from importlib.util import find_spec
from math import prod
from threading import Event
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition, libversion

from bridge.batching import Backoff, Batcher
from bridge.config import ConfigError, Settings
from bridge.fuse import Fuse, FuseBlownError
from bridge.health import HealthServer
from bridge.images import DecodedImage, Publication
from bridge.kafka.assignment import Assignment
from bridge.kafka.at_least_once import AtLeastOnce, Delivery, DeliveryError
from bridge.kafka.clients import (
    commit_metadata,
    consumer_option,
    make_consumer,
    make_producer,
)
from bridge.kafka.exactly_once import ExactlyOnce, FencedError
from bridge.kafka.intake import Intake
from bridge.kafka.membership import Membership
from bridge.kafka.statistics import read_statistics
from bridge.kafka.watch import Watch
from bridge.metrics import Metrics
from bridge.outlet import Outlet
from bridge.pipeline import Pipeline
from bridge.reading import ImageReader
from bridge.references.finding import References
from bridge.routing import Routes
from bridge.startup import (
    StoppedError,
    check_task,
    connect,
    wait_for_model,
    wait_for_schema,
    wait_for_topics,
)
from bridge.triton.addresses import Addresses
from bridge.triton.model import ModelSpec
from bridge.triton.pool import Pool
from bridge.triton.watch import PoolWatch
from cli.version import version
from imaging.rules import ImageRules
from storage.allowed import AllowList, parse_allow_list
from wire.passing import PassedHeaders, read_patterns
from wire.prediction import Serializer

if TYPE_CHECKING:
    from bridge.references.fetcher import Fetcher
    from bridge.tracing import BridgeTracing

log = structlog.get_logger()

STUCK_S = 60.0
"""A loop that has not turned for that long is stuck: its longest wait is under a second, and the
calls that it makes on Kafka's client are bounded well below this."""
SETTLE_S = 30.0
"""Bound on committing what is complete after a failure."""
OF_KAFKA = (KafkaException, DeliveryError, FencedError)
"""Errors after which nothing can be committed, or must not be."""
BUFFERED_BATCHES = 8
"""Batches held for each that Triton may have: one being answered, one waiting, two
on their way in, and as much again being published or in a transaction."""


FETCHES_IN_FLIGHT = 256
"""Images that may be in flight besides, where some are fetched: twice as many as are fetched at a
time, so that the next ones are known when one has come."""


class App:
    """One bridge.

    Args:
        tracing: None where it is off.

    Raises:
        ConfigError: settings that cannot work together with what is there.
    """

    def __init__(self, settings: Settings, tracing: "BridgeTracing | None" = None) -> None:
        self._settings = settings
        self._tracing = tracing
        # The same for every producer of this process: a new one puts its predecessor out at once.
        self._transactional_id = settings.transactional_id or f"{settings.group}-{uuid4()}"
        self._metrics = Metrics()
        self._metrics.ready.set_function(lambda: float(not self._not_ready()))
        self._ended = Event()
        self._stop = Event()
        self._failure: Exception | None = None
        self._blown: str | None = None
        """Why the fuse has blown."""
        self._started = False
        self._metrics.names.labels(settings.images_topic, settings.group).set(1)
        self._metrics.oldest.set_function(self._oldest_age)
        self._metrics.build.labels(
            version(), platform.python_version(), str(libversion()[0]), settings.digest
        ).set(1)
        self._membership = Membership(settings.group)
        self._waits: dict[str, str] = {}
        """What a start waits for, with the reason."""
        self._serializer: Serializer | None = None
        """Of predictions; None: JSON, or not known yet."""
        self._watch: Watch | None = None
        self._reads_committed = consumer_option(settings, "isolation.level") == "read_committed"
        self._intake: Intake | None = None
        self._pipeline: Pipeline | None = None
        self._fetcher: Fetcher | None = None
        self._allowed = parse_allow_list(settings.reference_allow)
        _check_client(self._allowed)
        self._delivery: Delivery | None = None
        self._assignment: Assignment[Publication] | None = None
        try:
            self._health = HealthServer(
                settings.http_host,
                settings.http_port,
                self._metrics.registry,
                self._not_live,
                self._not_ready,
            )
        except OSError as error:
            raise ConfigError(
                f"http_port: cannot listen on {settings.http_host}:{settings.http_port}: "
                f"{error.strerror}"
            ) from None

    def _oldest_age(self) -> float:
        return 0.0 if self._assignment is None else self._assignment.oldest_age()

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the bridge to drain and end; `at_once`: to end without draining."""
        self._stop.set()
        if self._intake is not None:
            self._intake.stop(at_once=at_once)
        if at_once:
            self._ended.set()

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            Exception: what made it impossible to go on; nothing past it was committed. After a
                `FuseBlownError`, once the bridge is stopped.
            UnservableModelError: the model is not one that the bridge can feed.
        """
        previous, threading.excepthook = threading.excepthook, self._thread_died
        self._health.start()
        log.info("starting", http=f"{self._settings.http_host}:{self._health.port}")
        try:
            self._serve_until_stopped()
        except StoppedError:
            if self._failure is not None:
                raise self._failure from None
            log.info("stopped")
        except FuseBlownError as error:
            # Up, so that nothing starts it again and again into the same failure; not ready, so
            # that no deployment goes on from here.
            self._blown = str(error)
            self._metrics.blown.set(1)
            log.error("fuse_blown", error=self._blown)  # noqa: TRY400 - the text is the whole story
            self._stop.wait()
            raise
        finally:
            threading.excepthook = previous
            self._health.stop()

    def _serve_until_stopped(self) -> None:
        backoff = Backoff(self._settings.retry_min_s, self._settings.retry_max_s, random.random)
        while True:
            try:
                return self._serve()
            except FencedError as error:
                # Everything is built again, from what the broker says is committed.
                wait = backoff.next_wait()
                self._waits["transactions"] = str(error)
                log.warning("fenced", error=str(error), retry_in_s=round(wait, 2))
                if self._stop.wait(wait):
                    raise StoppedError from None
                self._failure = None
                self._ended.clear()

    def _serve(self) -> None:
        settings = self._settings
        pool = Pool(
            Addresses(settings.triton),
            partial(connect, settings),
            metrics=self._metrics,
            max_inflight=settings.max_inflight,
            mixed_versions=settings.mixed_versions,
            max_attempts=settings.max_attempts,
            timeout_s=settings.request_timeout_s,
            retry_min_s=settings.retry_min_s,
            retry_max_s=settings.retry_max_s,
        )
        self._membership = Membership(settings.group)
        pool_watch = PoolWatch(pool)
        try:
            consumer = make_consumer(
                settings, self._kafka_error, self._kafka_statistics, self._kafka_committed
            )
            spec = wait_for_model(pool, consumer, settings, self._stop, self._waits)
            check_task(settings, spec.task.name)
            pool_watch.start()
            wait_for_topics(consumer, settings, self._stop, self._waits, self._group_error)
            self._membership.brokers(up=True)
            if self._serializer is None:  # kept where all is built again: the registry may be away
                self._serializer = wait_for_schema(consumer, settings, self._stop, self._waits)
            self._run_with(pool, spec, consumer)
        finally:
            pool_watch.stop()

    def _run_with(self, pool: Pool, spec: ModelSpec, consumer: Consumer) -> None:
        settings, metrics = self._settings, self._metrics
        assignment: Assignment[Publication] = Assignment(metrics.images)
        self._assignment = assignment
        self._watch = watch = Watch(
            consumer, self._membership, assignment, metrics,
            topic=settings.images_topic, model=spec.name,
            skips=consumer_option(settings, "auto.offset.reset") in ("latest", "largest", "end"),
        )  # fmt: skip
        self._delivery = delivery = self._make_delivery(consumer, assignment, spec.name)

        def max_images(slots: int) -> int:
            default = BUFFERED_BATCHES * spec.max_batch * slots
            if self._allowed:
                default += FETCHES_IN_FLIGHT  # more are in flight while a store is far away
            return settings.max_buffered_images or default

        batcher: Batcher[DecodedImage] = Batcher(
            spec.max_batch, pool.slots, settings.retry_min_s, settings.retry_max_s,
            max_failures=settings.max_attempts,
        )  # fmt: skip
        outlet = Outlet(
            model=spec.name,
            source=f"bridge/{platform.node()}/{os.getpid()}",
            routes=Routes(settings.predictions_topic, settings.route_by, settings.routes),
            dead_letters_topic=settings.dead_letters_topic,
            delivery=delivery,
            assignment=assignment,
            fuse=Fuse(settings.fuse_consecutive, settings.fuse_ratio, settings.fuse_window),
            metrics=metrics,
            passed=PassedHeaders(read_patterns(settings.pass_headers)),
            min_score=settings.min_score,
            freshness=settings.freshness,
            tracing=self._tracing,
            serializer=self._serializer,
        )
        pixel_bytes = prod(spec.shape or (0,)) * spec.input.tensor.itemsize
        self._fetcher = fetcher = self._make_fetcher(assignment)
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
                self._allowed,
                settings.reference_field,
                outlet,
                assignment,
                None if fetcher is None else fetcher.fetch,
                pixel_bytes,
            ),
            metrics=metrics,
            wrapping=settings.wrapping,
            freshness=settings.freshness,
            tracing=self._tracing,
        )
        self._pipeline = pipeline = Pipeline(
            model=spec.name,
            reader=reader,
            inference=pool,
            batcher=batcher,
            outlet=outlet,
            max_attempts=settings.max_attempts,
            metrics=metrics,
            failed=self._fail,
            freshness=settings.freshness,
            tracing=self._tracing,
        )
        self._intake = intake = Intake(
            consumer,
            settings.images_topic,
            assignment,
            metrics,
            take=pipeline.submit,
            delivery=delivery,
            pixel_bytes=pixel_bytes,
            unwrapped_bytes=settings.wrapping.extra_bytes,
            max_images=max_images(pool.slots),
            max_bytes=settings.max_buffered_bytes,
            commit_interval_s=settings.commit_interval_s,
            drain_timeout_s=settings.drain_timeout_s,
            stalled=lambda: (
                self._failure is not None
                or pipeline.stalled
                or (fetcher is not None and fetcher.problem is not None)
            ),
            failed=self._fail,
            watch=watch,
            broker_assigns=consumer_option(settings, "group.protocol") == "consumer",
        )

        def resized(slots: int) -> None:
            batcher.max_inflight = slots
            intake.resize(max_images(slots))

        def parked(batches: int) -> None:
            batcher.parked = batches

        pool.on_resize(resized)
        pool.on_park(parked)
        delivery.start()
        pipeline.start()
        if fetcher is not None:
            fetcher.start(pipeline.fetched)
        intake.start()
        self._started = True
        self._waits.clear()
        log.info(
            "serving", model=spec.name, input=spec.shape or "encoded", task=spec.task.name,
            max_batch=spec.max_batch, max_inflight=batcher.max_inflight,
            images_topic=settings.images_topic, delivery=settings.delivery,
            prediction_format=settings.prediction_format,
        )  # fmt: skip
        if self._stop.is_set():
            intake.stop()
        while not self._ended.is_set() and not intake.join(0.2):
            pass
        self._started = False
        if self._failure is not None and not isinstance(self._failure, OF_KAFKA):
            intake.join(SETTLE_S)
        intake.stop(at_once=True)
        clean = intake.join(10) and intake.left is None and self._failure is None
        pipeline.stop()
        if fetcher is not None:
            fetcher.stop()
        delivery.close(flush=clean)
        assignment.close()
        if self._failure is not None:
            raise self._failure
        if not clean:
            raise NotDrainedError(intake.left)
        log.info("stopped")

    def _make_fetcher(self, assignment: Assignment[Publication]) -> "Fetcher | None":
        """What fetches images that lie in object storage; None where none may be fetched."""
        if not self._allowed:
            return None
        # What neither the client nor its event loop are imported for without it.
        from bridge.references.fetcher import Fetcher  # noqa: PLC0415
        from bridge.references.schedule import Schedule  # noqa: PLC0415
        from storage.client import Objects  # noqa: PLC0415

        settings, stores = self._settings, self._allowed.stores
        return Fetcher(
            lambda: Objects(stores, settings.request_timeout_s),
            schedule=Schedule(
                retry_min_s=settings.retry_min_s,
                retry_max_s=settings.retry_max_s,
                max_failures=settings.max_attempts,
                max_object=settings.max_image_bytes,
            ),
            assignment=assignment,
            metrics=self._metrics,
            max_bytes=settings.max_buffered_bytes,
            max_object=settings.max_image_bytes,
            failed=self._fail,
        )

    def _make_delivery(
        self, consumer: Consumer, assignment: Assignment[Publication], model: str
    ) -> Delivery:
        settings = self._settings
        metadata = commit_metadata(model)
        if settings.delivery == "at-least-once":
            producer = make_producer(settings, self._kafka_error, self._sent_statistics, {})
            return AtLeastOnce(consumer, producer, assignment, self._metrics, self._fail, metadata)
        timeout_ms = int(settings.transaction_timeout_s * 1000)
        extra = {
            "transactional.id": self._transactional_id,
            "transaction.timeout.ms": timeout_ms,
            # A transaction that cannot be delivered in time is given up as a whole.
            "message.timeout.ms": timeout_ms,
        }
        return ExactlyOnce(
            consumer,
            make_producer(settings, self._transactions_error, self._sent_statistics, extra),
            assignment,
            self._metrics,
            self._fail,
            timeout_s=settings.transaction_timeout_s,
            backoff=Backoff(settings.retry_min_s, settings.retry_max_s, random.random),
            metadata=metadata,
        )

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        if self._intake is not None:
            self._intake.stop(at_once=isinstance(error, OF_KAFKA))
        self._ended.set()

    def _thread_died(self, died: threading.ExceptHookArgs) -> None:
        """A thread that is no more is a failure of the service, whichever it is."""
        if died.exc_value is not None and not isinstance(died.exc_value, SystemExit):
            name = "unknown" if died.thread is None else died.thread.name
            log.error("thread_died", thread=name, exc_info=died.exc_value)
            self._fail(ThreadDiedError(f"thread {name}: {died.exc_value!r}"))
            self._stop.set()  # also where it waits: for Triton, or, its fuse blown, for a restart

    def _transactions_error(self, error: KafkaError) -> None:
        if not error.fatal():
            self._kafka_error(error)  # a fatal one is met, and handled, at the next call

    def _kafka_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._membership.brokers(up=False)
        log.warning("kafka_error", code=error.name(), error=error.str())
        if error.fatal():
            self._fail(KafkaException(error))

    def _group_error(self, error: KafkaError) -> None:
        log.warning("kafka_consumer_error", code=error.name(), error=error.str())
        self._membership.failed((None, None), error.code(), error.str())

    def _kafka_committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if self._delivery is not None:
            self._delivery.committed(error, partitions)
        if self._watch is not None:
            self._watch.committed(error, partitions)

    def _kafka_statistics(self, text: str) -> None:
        if self._watch is not None:
            self._watch.statistics(read_statistics(text, committed=self._reads_committed))

    def _sent_statistics(self, text: str) -> None:
        self._metrics.tell_client("producer", read_statistics(text))

    def _not_live(self) -> dict[str, str]:
        if not self._started or self._intake is None or self._pipeline is None:
            return {}
        now = time.monotonic()
        beats = {"intake": self._intake.beat, "pipeline": self._pipeline.beat}
        return {
            name: f"no turn of its loop for {now - beat:.0f} s"
            for name, beat in beats.items()
            if now - beat > STUCK_S
        }

    def _not_ready(self) -> dict[str, str]:
        wrong = self._not_live()
        if self._blown is not None:
            wrong["fuse"] = self._blown
        if self._stop.is_set():
            wrong["bridge"] = "stopping"
        elif self._blown is None and (
            not self._started or self._pipeline is None or self._delivery is None
        ):
            wrong |= {"bridge": "starting", **self._waits}
        elif self._blown is None:
            assert self._pipeline is not None
            assert self._delivery is not None
            reasons = {
                "triton": self._pipeline.problem,
                "object_storage": None if self._fetcher is None else self._fetcher.problem,
                "kafka": self._membership.problem,
                "transactions": self._delivery.problem,
                "progress": self._no_progress(),
            }
            wrong |= {part: why for part, why in reasons.items() if why is not None}
        return wrong

    def _no_progress(self) -> str | None:
        assert self._assignment is not None
        limit_s = max(STUCK_S, 2 * self._settings.request_timeout_s)
        quiet_s = time.monotonic() - self._assignment.progress_at
        if self._assignment.images and quiet_s > limit_s:
            return f"images are in flight and none was finished for {quiet_s:.0f} s"
        return None


def _check_client(allowed: AllowList) -> None:
    if allowed and find_spec("obstore") is None:
        raise ConfigError(
            "reference_allow needs the package's extra 'references': "
            "pip install 'triton-kafka-bridge[references]'"
        )


class ThreadDiedError(Exception):
    """A thread of the bridge ended by an error of its own."""


class NotDrainedError(Exception):
    """The bridge ended with images in flight; they will be delivered again."""
