"""A real broker that is restarted, or goes for good, while the bridge has nothing to do."""

import os
import signal
from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from tests.bridge.answers import as_records, collect_answers, ids
from tests.bridge.conftest import OWN, StartBridge, own_broker
from tests.kafka_client import send


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_stop_ends_while_the_broker_is_away(
    start_bridge: StartBridge, tmp_path: Path, delivery: str
) -> None:
    with own_broker(tmp_path) as (broker, settings):
        # Nothing is committed before the broker goes.
        bridge = start_bridge(
            **settings, delivery=delivery, commit_interval_s="60", drain_timeout_s="1"
        )
        send(broker.bootstrap, OWN.images, as_records(cifar10(Encoding.RAW), 1))
        collect_answers(broker, OWN, 1)
        broker.kill()
        os.kill(bridge.pid, signal.SIGTERM)
        status = bridge.wait_exit(120)
    # With exactly-once delivery, the offset may have been committed together with the answer.
    assert status == 1 or (status, delivery) == (0, "exactly-once")
    assert ("delivered again" in bridge.log_path.read_text()) == (status == 1)


def test_exactly_once_the_same_client_goes_on_after_a_restart(
    start_bridge: StartBridge, tmp_path: Path
) -> None:
    images = as_records(cifar10(Encoding.RAW), 2)
    with own_broker(tmp_path) as (broker, settings):
        bridge = start_bridge(**settings, delivery="exactly-once")
        for count in (1, 2):
            send(broker.bootstrap, OWN.images, images[count - 1 : count])
            messages = collect_answers(broker, OWN, count)
            broker.stop()
            broker.start()
    assert set(ids(messages).values()) == {1}
    # A client whose call hangs is replaced, which the bridge says.
    assert '"fenced"' not in bridge.log_path.read_text()
