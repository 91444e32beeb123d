"""Images that lie in a real S3 server, from a real Kafka to a real Triton and back."""

import asyncio
from collections import Counter
from contextlib import ExitStack

import orjson
import pytest

from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from storage.client import Objects
from tests.bridge.conftest import StartBridge
from tests.conftest import PARTITIONS, Topics
from tests.kafka_client import collect, committed, end_offsets, send
from tests.storage.server import BUCKET, BUILD_S, ObjectServer
from tests.waiting import eventually
from wire.deadletter import decode_dead_letter, restored
from wire.image import encode_image, image_id
from wire.record import Outgoing
from wire.reference import Reference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_S)]

STORE = f"s3://{BUCKET}"
IMAGES = 60


def upload(prefix: str, count: int = IMAGES) -> list[str]:
    """Real images; returns the label of each, whose key is prefix/number.png."""
    images = cifar10(Encoding.PNG)[:count]

    async def put() -> None:
        objects = Objects((STORE,), 30)
        await objects.connect()
        for number, image in enumerate(images):
            await objects.write(Reference("s3", BUCKET, f"{prefix}/{number}.png"), image.value)
        await objects.write(Reference("s3", BUCKET, f"{prefix}/text.png"), b"no image at all")
        await objects.close()

    asyncio.run(put())
    return [str(image.label) for image in images]


def by_dataref(name: str, url: str) -> Outgoing:
    return encode_image(
        id=name, value=None, content_type="image/png", source="test", intended_ns=1, sent_ns=1,
        dataref=url,
    )  # fmt: skip


def answers(kafka: Kafka, topics: Topics, count: int) -> Counter[str]:
    messages = collect(
        kafka.bootstrap,
        [topics.predictions, topics.dead_letters],
        lambda found: len({image_id(one) for one in found}) >= count,
    )
    found = Counter[str]()
    for one in messages:
        name = image_id(one)
        if one.topic() == topics.predictions:
            value = one.value()
            assert value is not None
            found[f"{name} {orjson.loads(value)['top'][0]['label']}"] += 1
        else:
            letter = decode_dead_letter(one)
            found[f"{name} {letter.stage}/{letter.error_class}"] += 1
    return found


def share_right(found: Counter[str], labels: list[str], name: str) -> float:
    right = [found[f"{name.format(n)} {label}"] for n, label in enumerate(labels)]
    return sum(right) / len(labels)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_references_of_every_form_are_answered(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, object_server: ObjectServer,
    delivery: str,
) -> None:  # fmt: skip
    with object_server.in_environment():
        prefix = f"in-{delivery}"
        labels = upload(prefix)
        start_bridge(
            delivery=delivery, reference_allow=f"{STORE}/{prefix}/", reference_field="image.url"
        )
        records = [by_dataref(f"ref-{n}", f"{STORE}/{prefix}/{n}.png") for n in range(len(labels))]
        for name, url in {
            "text": f"{STORE}/{prefix}/text.png", "missing": f"{STORE}/{prefix}/none.png",
            "elsewhere": f"{STORE}/other/0.png", "private": f"{STORE}-private/0.png",
            "file": "file:///etc/passwd",
        }.items():  # fmt: skip
            records.append(by_dataref(name, url))
        several = [
            {"eventName": "ObjectCreated:Put",
             "s3": {"bucket": {"name": BUCKET}, "object": {"key": f"{prefix}/{n}.png"}}}
            for n in range(5)
        ]  # fmt: skip
        records.append(Outgoing(None, orjson.dumps({"Records": several}), []))
        records.append(Outgoing(b"x", b'{"Event":"s3:TestEvent","Bucket":"photos"}', []))
        field = orjson.dumps({"image": {"url": f"{STORE}/{prefix}/0.png"}})
        records.append(Outgoing(b"by-field", field, []))
        send(kafka.bootstrap, topics.images, records)
        found = answers(kafka, topics, len(labels) + 5 + 5 + 1)
        assert share_right(found, labels, "ref-{}") > 0.8
        assert share_right(found, labels[:5], f"{STORE}/{prefix}/{{}}.png") >= 0.6
        assert sum(name.startswith("by-field ") for name in found) == 1
        dead = {name for name in found if "/" in name.rpartition(" ")[2]}
        assert dead == {
            "text decode/not_an_image", "missing fetch/not_found", "elsewhere fetch/not_allowed",
            "private fetch/not_allowed", "file fetch/not_allowed",
        }  # fmt: skip
        assert max(found.values()) == 1
        group = f"group-{topics.images}"
        eventually(
            lambda: (
                sum(committed(kafka.bootstrap, group, topics.images, PARTITIONS).values())
                == sum(end_offsets(kafka.bootstrap, topics.images, PARTITIONS).values())
            ),
            "every record being committed",
        )


def test_the_stores_own_notifications_are_answered_and_replayed(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    events = (kafka.bootstrap, topics.images)
    with ExitStack() as running:
        server = running.enter_context(ObjectServer(tmp_path_factory.mktemp("events"), events))
        with server.in_environment():
            start_bridge(reference_allow=f"{STORE}/in/")
            labels = upload("in", 20)
            found = answers(kafka, topics, len(labels) + 1)
            assert share_right(found, labels, f"{STORE}/in/{{}}.png") > 0.7
            assert found[f"{STORE}/in/text.png decode/not_an_image"] == 1
            (letter,) = [
                one
                for one in collect(kafka.bootstrap, [topics.dead_letters], bool)
                if decode_dead_letter(one).stage == "decode"
            ]
            # Put right, and sent again: the object of then is not the one of now.
            upload("in", 1)
            send(kafka.bootstrap, topics.images, [restored(letter)])
            again = answers(kafka, topics, len(labels) + 1)
            assert again[f"{STORE}/in/text.png decode/not_an_image"] >= 1
