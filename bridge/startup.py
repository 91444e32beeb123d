"""Waits, at start, for what the bridge needs: the model, the topics and the schema registry."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from bridge.backoff import Backoff
from bridge.config import ConfigError, Settings
from bridge.inference import InferenceError
from bridge.kafka.group import GroupState, begin_at_ends, read_group
from bridge.routing import LABEL
from bridge.triton.addresses import Address
from bridge.triton.client import Tls, TritonServer
from bridge.triton.model import ModelSpec, Wanted
from bridge.triton.pool import Pool
from cli.clients import reason
from cli.topics import why_absent
from schemas.formats import FORMATS, FramedSerializer, MissingPackageError, avro_schema
from schemas.registry import (
    Registry,
    RegistryAwayError,
    RegistryRefusedError,
    one_id,
    subject_of,
)
from schemas.settings import RegistrySettingError, RegistrySettings
from wire.prediction import Serializer

log = structlog.get_logger()

R = TypeVar("R")


class StoppedError(Exception):
    """A stop was asked for before the bridge had started."""


Waits = dict[str, str]
"""What the bridge waits for, each with its reason; health shows it."""


def wait_for_model(
    pool: Pool, consumer: Consumer, settings: Settings, stop: Event, waits: Waits
) -> ModelSpec:
    """The model's description, once a server has answered a probe image with it.

    Args:
        consumer: not subscribed yet; it is polled so that its client's reports do not pile up.

    Raises:
        StoppedError: `stop` was set before that.
        UnservableModelError: the bridge cannot feed the model, or the server is not a Triton.
    """

    def look() -> ModelSpec:
        consumer.poll(0)
        return pool.load_spec()

    return _retry("waiting_for_triton", look, InferenceError, settings, stop, waits)


def connect(settings: Settings, address: Address) -> TritonServer:
    """A client of one Triton server, made from the settings."""
    parameters = dict(settings.model_parameters)
    if settings.outputs:
        parameters["postprocess.outputs"] = settings.outputs
    tls = None
    if settings.triton_tls:
        tls = Tls(settings.triton_ca, settings.triton_cert, settings.triton_key)
    return TritonServer(
        address.text,
        settings.model,
        settings.model_version,
        wanted=Wanted(settings.task, parameters, settings.top_k),
        request_timeout_s=settings.request_timeout_s,
        tls=tls,
        name=address.name,
    )


def wait_for_topics(
    consumer: Consumer,
    settings: Settings,
    stop: Event,
    waits: Waits,
    told: Callable[[KafkaError], None],
) -> None:
    """Wait until the broker has all topics and the group is free for this model.

    Args:
        told: called with the errors that the consumer reports meanwhile.

    Raises:
        ConfigError: a topic does not exist, or bridges with another model are in the group.
        StoppedError: `stop` was set before that.
    """

    def look() -> None:
        # Polling reports why no broker is reached, such as a wrong password. An error of the group
        # is reported only once.
        message = consumer.poll(0)
        if message is not None and (error := message.error()) is not None:
            told(error)
        known = consumer.list_topics(timeout=5).topics
        missing = [topic for topic in settings.topics if topic not in known]
        if missing:
            raise ConfigError(why_absent(consumer, settings.brokers, missing, 5))

        state = read_group(settings, consumer)
        check_group(settings, state)
        begin(settings, state, consumer)

    _retry("waiting_for_kafka", look, KafkaException, settings, stop, waits)


def make_registry(settings: Settings) -> Registry:
    """The registry of the prediction format; it is not asked anything.

    Raises:
        ConfigError: a package is not installed, or the settings cannot work.
    """
    password = settings.schema_registry_password
    try:
        if settings.prediction_format == "avro":
            avro_schema()
        return Registry(
            RegistrySettings(
                settings.schema_registry_url,
                settings.schema_registry_user,
                "" if password is None else password.get_secret_value(),
                settings.schema_registry,
            )
        )
    except (MissingPackageError, RegistrySettingError) as error:
        raise ConfigError(str(error)) from None


def wait_for_schema(
    consumer: Consumer, settings: Settings, stop: Event, waits: Waits
) -> Serializer | None:
    """The serializer of the prediction format; None for JSON, which needs no registry.

    The registry is asked here and never again: writing needs only the schema's id.

    Args:
        consumer: polled meanwhile.

    Raises:
        ConfigError: the registry refuses the schema or our access, or a package is not installed.
        StoppedError: `stop` was set before that.
    """
    if settings.prediction_format == "json":
        return None
    chosen = FORMATS[settings.prediction_format]
    registry = make_registry(settings)
    topics = (settings.predictions_topic, *settings.routes.values())
    subjects = list(dict.fromkeys(subject_of(topic, settings.schema_subject) for topic in topics))

    def look() -> int:
        ids = []
        for subject in subjects:
            consumer.poll(0)
            ids.append(registry.id_of(chosen, subject, register=settings.schema_register))
        return one_id(ids, subjects)

    try:
        schema_id = _retry(
            "waiting_for_schema_registry", look, RegistryAwayError, settings, stop, waits
        )
    except RegistryRefusedError as error:
        raise ConfigError(str(error)) from None
    finally:
        registry.close()
    log.info("schema", format=chosen.name, subjects=subjects, id=schema_id)
    return FramedSerializer(chosen, schema_id)


def check_task(settings: Settings, task: str) -> None:
    """Check that the settings about labels fit the model's task.

    Raises:
        ConfigError: the model's answers have no labels.
    """
    if task in ("classify", "detect"):
        return
    wrong = [] if settings.min_score is None else ["min_score"]
    if settings.routes and settings.route_by == LABEL:
        wrong.append("routes by label")
    if wrong:
        raise ConfigError(
            f"{' and '.join(wrong)}: the task of model {settings.model} is {task}, whose "
            "predictions have no labels"
        )


def check_group(settings: Settings, state: GroupState) -> None:
    """Check that no other model answers the images of the group.

    Whatever else keeps the group from answering, such as a missing right, is found and reported
    when the bridge joins the group.

    Raises:
        ConfigError: another model answers them now.
    """
    if others := state.others(settings.model):
        raise ConfigError(
            f"group: the {state.members} member(s) of group {settings.group!r} answer "
            f"{settings.images_topic!r} by model {', '.join(others)}: a bridge with model "
            f"{settings.model!r} would take a share of the images from them; use another --group, "
            "or stop those bridges first"
        )


def begin(settings: Settings, state: GroupState, consumer: Consumer) -> None:
    """Log, or decide, where a group begins that has answered nothing yet.

    Raises:
        KafkaException: it cannot be decided now.
    """
    if state.begun or state.members:
        return
    if settings.start == "latest":
        partitions = begin_at_ends(settings, consumer)
        log.info("new_group", group=settings.group, start="latest", partitions=partitions)
    else:
        log.info(
            "new_group",
            group=settings.group,
            start="earliest",
            effect="every image that Kafka still has is answered",
        )


def _retry(
    event: str,
    look: Callable[[], R],
    passing: type[Exception],
    settings: Settings,
    stop: Event,
    waits: Waits,
) -> R:
    part = event.removeprefix("waiting_for_")
    backoff = Backoff(settings.retry_min_s, settings.retry_max_s, lambda: 1.0)
    while not stop.is_set():
        try:
            found = look()
            waits.pop(part, None)
            return found
        except passing as error:
            wait = backoff.next_wait()
            text = reason(error)[:300]
            waits[part] = text
            log.warning(event, error=text, retry_in_s=round(wait, 2))
            stop.wait(wait)
    raise StoppedError
