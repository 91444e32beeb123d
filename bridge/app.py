"""The life of a bridge: it waits for what it needs, serves, reports its state and ends in order."""

import platform
import random
import threading
import time
from functools import partial
from threading import Event
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition, libversion

from bridge.backoff import Backoff
from bridge.building import Events, build, check_client
from bridge.config import ConfigError, Settings
from bridge.fuse import FuseBlownError
from bridge.health import HealthServer
from bridge.kafka.clients import check_promises, consumer_option, make_consumer
from bridge.kafka.membership import Membership
from bridge.kafka.statistics import read_statistics
from bridge.kafka.transaction_size import TransactionSize
from bridge.kafka.transactions import FencedError
from bridge.metrics import Metrics
from bridge.parts import Parts
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
from bridge.triton.servers import Limits
from bridge.triton.watch import PoolWatch
from cli.version import version
from wire.prediction import Serializer

if TYPE_CHECKING:
    from bridge.tracing import BridgeTracing

log = structlog.get_logger()

SETTLE_S = 30.0
"""Bound on committing the completed prefixes after a failure, in seconds."""
LAST_COMMIT_S = 5.0
"""Time after the drain in which the last offsets must be committed, in seconds; then the client's
calls, which last until Kafka is back, are left to themselves."""
OF_KAFKA = (KafkaException, FencedError)
"""Errors after which nothing can be committed, or must not be. A record that Kafka refuses is not
one of them: without that commit, what is complete would be sent again at each start, and fail at
the same record."""


class App:
    """One bridge.

    Args:
        tracing: None where tracing is off.

    Raises:
        ConfigError: settings that do not fit each other, or do not fit what is there.
        KafkaSettingError: an option of Kafka's client that would undo what the bridge promises.
    """

    def __init__(self, settings: Settings, tracing: "BridgeTracing | None" = None) -> None:
        check_promises(settings)  # before anything is waited for
        self._settings = settings
        self._tracing = tracing
        # The same for every producer of this process: a new one fences the one before it at once.
        self._transactional_id = settings.transactional_id or f"{settings.group}-{uuid4()}"
        self._transaction_size = TransactionSize()
        self._metrics = Metrics()
        self._metrics.ready.set_function(lambda: float(not self._not_ready()))
        self._ended = Event()
        self._stop = Event()
        self._failure: Exception | None = None
        self._blown: str | None = None
        """Why the fuse has blown; None while it has not."""
        self._started = False
        self._metrics.names.labels(settings.images_topic, settings.group).set(1)
        self._metrics.oldest.set_function(self._oldest_age)
        self._metrics.build.labels(
            version(), platform.python_version(), str(libversion()[0]), settings.digest
        ).set(1)
        self._membership = Membership(settings.group)
        self._waits: dict[str, str] = {}
        """What the bridge waits for at start, each with its reason."""
        self._serializer: Serializer | None = None
        """Writes predictions; None until it is known, and where predictions are JSON."""
        self._reads_committed = consumer_option(settings, "isolation.level") == "read_committed"
        self._parts: Parts | None = None
        check_client(settings)
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
        return 0.0 if self._parts is None else self._parts.assignment.oldest_age()

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the bridge to drain and end; with `at_once`, to end without draining."""
        self._stop.set()
        if self._parts is not None:
            self._parts.intake.stop(at_once=at_once)
        if at_once:
            self._ended.set()

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            Exception: the error that made it impossible to go on; nothing past it was committed.
                A `FuseBlownError` is raised only once the bridge is stopped.
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
            # The process stays alive, so that nothing restarts it again and again into the same
            # failure; it is not ready, so that no deployment goes on from here.
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
                # Everything is built again, from the offsets that the broker says are committed.
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
            limits=Limits(
                max_inflight=settings.max_inflight,
                mixed_versions=settings.mixed_versions,
                max_attempts=settings.max_attempts,
                timeout_s=settings.request_timeout_s,
                retry_min_s=settings.retry_min_s,
                retry_max_s=settings.retry_max_s,
            ),
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
            if self._serializer is None:  # a rebuild keeps it: the registry may be away
                self._serializer = wait_for_schema(consumer, settings, self._stop, self._waits)
            self._run_with(pool, spec, consumer)
        finally:
            pool_watch.stop()

    def _run_with(self, pool: Pool, spec: ModelSpec, consumer: Consumer) -> None:
        settings = self._settings
        self._parts = parts = build(
            settings,
            spec,
            pool,
            consumer,
            membership=self._membership,
            metrics=self._metrics,
            transactional_id=self._transactional_id,
            transaction_size=self._transaction_size,
            serializer=self._serializer,
            tracing=self._tracing,
            events=Events(self._fail, lambda: self._failure is not None, self._kafka_error),
        )
        parts.start(pool)
        intake = parts.intake
        self._started = True
        self._waits.clear()
        log.info(
            "serving", model=spec.name, input=spec.shape or "encoded", task=spec.task.name,
            max_batch=spec.max_batch, max_inflight=parts.batcher.max_inflight,
            images_topic=settings.images_topic, delivery=settings.delivery,
            prediction_format=settings.prediction_format,
        )  # fmt: skip
        if self._stop.is_set():
            intake.stop()
        give_up_at = float("inf")
        while not self._ended.is_set() and not intake.join(0.2) and time.monotonic() < give_up_at:
            if self._stop.is_set():
                give_up_at = min(
                    give_up_at, time.monotonic() + settings.drain_timeout_s + LAST_COMMIT_S
                )
        self._started = False
        if self._failure is not None and not isinstance(self._failure, OF_KAFKA):
            intake.join(SETTLE_S)
        intake.stop(at_once=True)
        clean = intake.join(LAST_COMMIT_S) and intake.left is None and self._failure is None
        parts.end(clean=clean)
        if self._failure is not None:
            raise self._failure
        if not clean:
            raise NotDrainedError(intake.left)
        log.info("stopped")

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        if self._parts is not None:
            self._parts.intake.stop(at_once=isinstance(error, OF_KAFKA))
        self._ended.set()

    def _thread_died(self, died: threading.ExceptHookArgs) -> None:
        """Treat the end of any thread by an error as a failure of the service."""
        if died.exc_value is not None and not isinstance(died.exc_value, SystemExit):
            name = "unknown" if died.thread is None else died.thread.name
            log.error("thread_died", thread=name, exc_info=died.exc_value)
            self._fail(ThreadDiedError(f"thread {name}: {died.exc_value!r}"))
            self._stop.set()  # ends its waits, too: for Triton, or for a restart after a blown fuse

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
        if self._parts is not None:
            self._parts.delivery.committed(error, partitions)
            self._parts.watch.committed(error, partitions)

    def _kafka_statistics(self, text: str) -> None:
        if self._parts is not None:
            self._parts.watch.statistics(read_statistics(text, committed=self._reads_committed))

    def _not_live(self) -> dict[str, str]:
        return self._parts.stuck() if self._started and self._parts is not None else {}

    def _not_ready(self) -> dict[str, str]:
        wrong = self._not_live()
        if self._blown is not None:
            wrong["fuse"] = self._blown
        if self._stop.is_set():
            wrong["bridge"] = "stopping"
        elif self._blown is None:
            if self._started and self._parts is not None:
                wrong |= self._parts.problems(self._settings.request_timeout_s)
            else:
                wrong |= {"bridge": "starting", **self._waits}
        return wrong


class ThreadDiedError(Exception):
    """A thread of the bridge was ended by an error."""


class NotDrainedError(Exception):
    """The bridge ended with images in flight; they will be delivered again."""
