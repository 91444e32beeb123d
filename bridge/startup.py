"""Waiting, at start, for what the bridge needs: the model, and the topics."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

import structlog
from confluent_kafka import Consumer, KafkaException

from bridge.batching import Backoff
from bridge.config import ConfigError, Settings
from bridge.inference import Failure, InferenceError
from bridge.triton.client import TritonServer, probe
from bridge.triton.model import ModelSpec, UnservableModelError
from cli.topics import missing_topics

log = structlog.get_logger()

R = TypeVar("R")


class StoppedError(Exception):
    """A stop was asked for before the bridge had started."""


def wait_for_model(triton: TritonServer, settings: Settings, stop: Event) -> ModelSpec:
    """What the model is, once it has answered a probe image.

    Raises:
        StoppedError: `stop` was set meanwhile.
        UnservableModelError: the model is not one that the bridge can feed.
    """
    failures = 0

    def look() -> ModelSpec:
        nonlocal failures
        spec = triton.load_spec()
        # A foreign model of encoded images may not read what this one would send.
        if spec.shape is None and spec.error_output is None:
            return spec
        try:
            probe(triton, spec, settings.request_timeout_s)
        except InferenceError as error:
            # A backend that is just restarting its processes says INTERNAL, too.
            failures += error.failure is Failure.INTERNAL
            if failures < settings.max_attempts:
                raise
            raise UnservableModelError(
                f"model {spec.name!r} fails on a probe image: {error}"
            ) from None
        return spec

    return _retry("waiting_for_triton", look, InferenceError, settings, stop)


def wait_for_topics(consumer: Consumer, settings: Settings, stop: Event) -> None:
    """Return once the broker has all three topics.

    Raises:
        ConfigError: it has not.
        StoppedError: `stop` was set meanwhile.
    """
    wanted = (settings.images_topic, settings.predictions_topic, settings.dead_letters_topic)

    def look() -> None:
        consumer.poll(0)  # hands over why no broker is reached: a wrong password, say
        known = consumer.list_topics(timeout=5).topics
        missing = [topic for topic in wanted if topic not in known]
        if missing:
            raise ConfigError(missing_topics(settings.brokers, missing))

    _retry("waiting_for_kafka", look, KafkaException, settings, stop)


def _retry(
    event: str, look: Callable[[], R], passing: type[Exception], settings: Settings, stop: Event
) -> R:
    backoff = Backoff(settings.retry_min_s, settings.retry_max_s, lambda: 1.0)
    while not stop.is_set():
        try:
            return look()
        except passing as error:
            wait = backoff.next_wait()
            log.warning(event, error=str(error)[:300], retry_in_s=round(wait, 2))
            stop.wait(wait)
    raise StoppedError
