"""Readiness says why nothing is read, on real servers; what cannot pass ends the bridge."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from stack.kafka import Kafka
from stack.ports import HOST, free_ports
from stack.topics import create_topics
from stack.triton import Triton
from tests.bridge.answers import GOOD, as_record, collect_answers, wait_for
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.kafka_client import send

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SASL = (
    '{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "bridge", '
    '"sasl.password": "secret", "reconnect.backoff.max.ms": 500}'
)


class Strict:
    """A broker with rights, which can create no log of transactions."""

    def __init__(self, directory: Path) -> None:
        (port,) = free_ports(1)
        self.sasl = f"{HOST}:{port}"
        self.broker = Kafka(
            directory,
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl.plain.sasl.jaas.config": f"{LOGIN} required "
                'user_bridge="secret";',
                "transaction.state.log.replication.factor": "3",
            },
        )
        self.broker.add_listener("SASL", port, "SASL_PLAINTEXT")
        self._admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})

    def topics(self) -> Topics:
        suffix = uuid.uuid4().hex[:12]
        names = Topics(f"images-{suffix}", f"predictions-{suffix}", f"images-{suffix}.dlq")
        wanted = (names.images, names.predictions, names.dead_letters)
        create_topics(self.broker.bootstrap, dict.fromkeys(wanted, 2))
        return names

    def may(self, kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
        return AclBinding(
            kind, name, ResourcePatternType.LITERAL, "User:bridge", "*", operation,
            AclPermissionType.ALLOW,
        )  # fmt: skip

    def grant(self, right: AclBinding) -> None:
        self._wait(self._admin.create_acls([right]))

    def deny(self, right: AclBinding) -> None:
        named = AclBindingFilter(
            right.restype, right.name, right.resource_pattern_type, right.principal, right.host,
            right.operation, right.permission_type,
        )  # fmt: skip
        self._wait(self._admin.delete_acls([named]))

    def _wait(self, futures: dict[Any, Any]) -> None:
        for future in futures.values():
            future.result()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    made = Strict(tmp_path_factory.mktemp("strict-kafka"))
    with made.broker:
        yield made


def places(strict: Strict, topics: Topics) -> dict[str, str]:
    return {
        "brokers": strict.broker.bootstrap,
        "images_topic": topics.images,
        "predictions_topic": topics.predictions,
        "dead_letters_topic": topics.dead_letters,
    }


def test_rights_that_are_missing_are_said_at_start_and_while_it_runs(
    strict: Strict, start_bridge: StartBridge
) -> None:
    topics = strict.topics()
    group = f"group-{topics.images}"
    for name in (topics.images, topics.predictions, topics.dead_letters):
        strict.grant(strict.may(ResourceType.TOPIC, name, AclOperation.DESCRIBE))
    for name in (topics.predictions, topics.dead_letters):
        strict.grant(strict.may(ResourceType.TOPIC, name, AclOperation.WRITE))
    of_group = strict.may(ResourceType.GROUP, group, AclOperation.READ)
    of_topic = strict.may(ResourceType.TOPIC, topics.images, AclOperation.READ)
    settings = {**places(strict, topics), "brokers": strict.sasl, "kafka": SASL, "group": group}
    bridge = start_bridge(ready=False, retry_max_s="1", **settings)

    def said(reason: str) -> bool:
        return reason in bridge.reasons().get("kafka", "") and bridge.health("ready") == 503

    wait_for(lambda: said("Group authorization failed"))
    strict.grant(of_group)
    wait_for(lambda: said("Topic authorization failed"))
    strict.grant(of_topic)
    wait_for(lambda: not bridge.reasons())
    strict.deny(of_topic)
    wait_for(lambda: said("Topic authorization failed"))
    strict.grant(of_topic)
    wait_for(lambda: not bridge.reasons())
    strict.deny(of_group)
    wait_for(lambda: said("Group authorization failed"))
    strict.grant(of_group)
    wait_for(lambda: not bridge.reasons())
    assert bridge.running


def test_transactions_that_cannot_start_are_not_ready(
    strict: Strict, start_bridge: StartBridge
) -> None:
    # At debug, a warning that comes again is a line each time.
    settings = {"transaction_timeout_s": "3", "log_level": "debug"}
    bridge = start_bridge(
        ready=False, delivery="exactly-once", **places(strict, strict.topics()), **settings
    )
    wait_for(lambda: bridge.reasons().keys() == {"transactions"})
    # The client's call says that it waits, or it hangs and the producer is replaced.
    wait_for(lambda: len(re.findall("transaction_waits|fenced", bridge.log_path.read_text())) > 1)
    wait_for(lambda: bridge.reasons().keys() == {"transactions"})
    assert bridge.health("ready") == 503


def test_a_bridge_without_statistics_is_ready_again_after_an_outage(
    strict: Strict, start_bridge: StartBridge
) -> None:
    topics = strict.topics()
    options = '{"statistics.interval.ms": 0, "reconnect.backoff.max.ms": 500}'
    bridge = start_bridge(kafka_consumer=options, **places(strict, topics))
    strict.broker.stop()
    wait_for(lambda: "kafka" in bridge.reasons())
    strict.broker.start()
    wait_for(lambda: not bridge.reasons())


def test_a_group_in_use_with_another_protocol_is_said_until_it_is_free(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge
) -> None:
    other = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": f"group-{topics.images}",
            "partition.assignment.strategy": "range",
        }
    )
    other.subscribe([topics.images])
    wait_for(lambda: other.poll(0.1) is None and other.assignment())
    bridge = start_bridge(ready=False)
    wait_for(lambda: "Inconsistent group protocol" in bridge.reasons().get("kafka", ""))
    assert bridge.health("ready") == 503
    other.close()
    wait_for(lambda: not bridge.reasons())


def test_no_offset_to_begin_at_and_none_to_be_chosen_ends_with_usage(
    start_bridge: StartBridge,
) -> None:
    bridge = start_bridge(ready=False, kafka_consumer='{"auto.offset.reset": "error"}')
    assert bridge.wait_exit(60) == 2
    assert "auto.offset.reset=error" in bridge.log_path.read_text()


def test_a_triton_that_dies_while_no_image_comes_is_said(
    kafka: Kafka, triton: Triton, topics: Topics, start_bridge: StartBridge
) -> None:
    bridge = start_bridge()
    triton.kill()
    wait_for(lambda: "not answering" in bridge.reasons().get("triton", ""))
    assert bridge.metrics()["bridge_ready"] == 0
    triton.start()
    wait_for(lambda: not bridge.reasons())
    send(kafka.bootstrap, topics.images, [as_record(GOOD, "after")])
    collect_answers(kafka, topics, 1)
