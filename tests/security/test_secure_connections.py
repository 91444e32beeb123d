"""TLS and SASL to a real broker, TLS to a real Triton, and no secret where it can be read."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.bridge import Bridge
from stack.ports import HOST
from stack.topics import create_topics
from stack.triton import Triton
from tests.conftest import PARTITIONS
from tests.kafka_client import collect, send
from tests.security.conftest import NAME, PASSWORD, USER, Authority, SecureKafka, make_authority
from tests.waiting import eventually
from wire.prediction import decode_prediction
from wire.record import Outgoing

StartBridge = Callable[..., Bridge]
IMAGE = cifar10(Encoding.PNG)[0]


@pytest.fixture
def images_topic(secure_kafka: SecureKafka) -> str:
    name = f"images-{time.monotonic_ns()}"
    wanted = (name, f"{name}.predictions", f"{name}.dlq")
    create_topics(secure_kafka.plain.bootstrap, dict.fromkeys(wanted, PARTITIONS))
    return name


@pytest.fixture
def start_bridge(images_topic: str, triton: Triton, tmp_path: Path) -> Iterator[StartBridge]:
    with ExitStack() as running:

        def start(brokers: str, kafka: dict[str, object], **settings: str) -> Bridge:
            bridge = Bridge(
                {
                    "brokers": brokers,
                    "kafka": json.dumps(kafka),
                    "triton": triton.grpc,
                    "images_topic": images_topic,
                    "predictions_topic": f"{images_topic}.predictions",
                    "dead_letters_topic": f"{images_topic}.dlq",
                    "group": images_topic,
                    "log_level": "debug",
                    **settings,
                },
                tmp_path,
            )
            running.callback(bridge.stop)
            bridge.launch()
            return bridge

        yield start


def answers_one(secure_kafka: SecureKafka, topic: str) -> None:
    plain = secure_kafka.plain.bootstrap
    send(plain, topic, [Outgoing(b"image-0", IMAGE.value, [])])
    (answer,) = collect(plain, [f"{topic}.predictions"], bool)
    assert decode_prediction(answer).top[0]["label"] == IMAGE.label


def everything_readable(bridge: Bridge) -> str:
    connection = http.client.HTTPConnection(bridge.http, timeout=5)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode() + bridge.log_path.read_text()


def test_tls_to_the_broker(
    secure_kafka: SecureKafka, authority: Authority, images_topic: str, start_bridge: StartBridge
) -> None:
    bridge = start_bridge(
        secure_kafka.tls, {"security.protocol": "SSL", "ssl.ca.location": str(authority.ca)}
    )
    bridge.wait_ready()
    answers_one(secure_kafka, images_topic)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER"])
def test_sasl_to_the_broker_and_the_password_is_nowhere_to_be_read(
    secure_kafka: SecureKafka,
    authority: Authority,
    images_topic: str,
    start_bridge: StartBridge,
    mechanism: str,
) -> None:
    options: dict[str, object] = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(authority.ca),
        "sasl.mechanism": mechanism,
    }
    secret = {}
    if mechanism == "OAUTHBEARER":
        options |= {
            "enable.sasl.oauthbearer.unsecure.jwt": True,
            "sasl.oauthbearer.config": f"principal={USER}",
        }
    else:
        options["sasl.username"] = USER
        secret = {"kafka_password": PASSWORD}
    bridge = start_bridge(secure_kafka.sasl, options, **secret)
    bridge.wait_ready()
    answers_one(secure_kafka, images_topic)
    assert PASSWORD not in everything_readable(bridge)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("password", "_AUTHENTICATION"), ("authority", "certificate verify failed")],
)
def test_what_the_broker_refuses_is_said_and_the_bridge_is_not_ready(
    secure_kafka: SecureKafka,
    authority: Authority,
    start_bridge: StartBridge,
    tmp_path: Path,
    wrong: str,
    said: str,
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ca = make_authority(other).ca if wrong == "authority" else authority.ca
    password = "wrong-horse" if wrong == "password" else PASSWORD
    bridge = start_bridge(
        secure_kafka.sasl,
        {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(ca),
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
        },
        kafka_password=password,
    )
    eventually(lambda: said in bridge.log_path.read_text(), f"{said} in the log")
    assert bridge.health("ready") == http.HTTPStatus.SERVICE_UNAVAILABLE
    assert password not in everything_readable(bridge)


@pytest.mark.parametrize("host", [HOST, f"dns:///{NAME}"])
def test_tls_to_triton(
    secure_kafka: SecureKafka,
    secure_triton: Triton,
    authority: Authority,
    images_topic: str,
    start_bridge: StartBridge,
    host: str,
) -> None:
    bridge = start_bridge(
        secure_kafka.plain.bootstrap,
        {},
        triton=secure_triton.grpc.replace(HOST, host),
        triton_tls="true",
        triton_ca=str(authority.ca),
    )
    bridge.wait_ready()
    answers_one(secure_kafka, images_topic)
