"""The producer on a real Kafka."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from producer import sources
from producer.encoding import Encoding
from producer.sender import Sender, SendError, librdkafka_config
from stack.kafka import Kafka
from stack.ports import free_ports
from stack.topics import create_topics
from tests.conftest import PARTITIONS, Topics
from tests.kafka_client import collect, end_offsets
from wire.deadletter import DeadLetter, encode_dead_letter
from wire.image import ImageEvent, decode_image
from wire.prediction import STAMPS, Prediction, ScoredLabel, encode_prediction
from wire.record import Outgoing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "producer" / "run.py"


def never() -> bool:
    return False


def arguments(kafka: Kafka, topics: Topics, *more: str) -> list[str]:
    fixed = ["--brokers", kafka.bootstrap, "--images-topic", topics.images]
    return [sys.executable, str(RUN), *more, *fixed]


def run(kafka: Kafka, topics: Topics, *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        arguments(kafka, topics, *more), capture_output=True, text=True, timeout=120, check=False
    )


def reported(output: str, name: str) -> int:
    """A count of the report."""
    found = re.search(rf"^{name} +([\d,]+)", output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


@pytest.fixture
def stored(kafka: Kafka, topics: Topics) -> Callable[[], list[Message]]:
    """Reads everything that the images topic holds."""

    def read() -> list[Message]:
        expected = sum(end_offsets(kafka.bootstrap, topics.images, PARTITIONS).values())
        return collect(kafka.bootstrap, [topics.images], lambda found: len(found) >= expected)

    return read


@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_encoding_arrives_as_it_was_sent(
    encoding: Encoding, kafka: Kafka, topics: Topics, stored: Callable[[], list[Message]]
) -> None:
    done = run(
        kafka, topics, "cifar10", "--count", "40", "--rate", "0", "--encoding", encoding.value,
        "--run-id", "trip",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    images = sources.cifar10(encoding)
    by_id = {decode_image(message).id: message for message in stored()}
    assert by_id.keys() == {f"trip-{i}" for i in range(40)}
    for i in range(40):
        message, image = by_id[f"trip-{i}"], images[i]
        event = decode_image(message)
        assert message.value() == image.value
        assert message.key() == f"trip-{i}".encode()
        assert (event.content_type, event.label) == (image.content_type, image.label)
        assert (event.dtype, event.shape) == (image.dtype, image.shape)
        assert event.run_id == "trip"
        assert event.intended_ns == event.sent_ns


def test_images_repeat_with_new_ids_and_keep_their_intended_times(
    kafka: Kafka, topics: Topics, stored: Callable[[], list[Message]]
) -> None:
    done = run(
        kafka, topics, "synthetic", "--distinct", "3", "--size", "8", "--count", "10",
        "--rate", "200", "--run-id", "again",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = {decode_image(message).id: decode_image(message) for message in stored()}
    assert len(events) == 10
    start = events["again-0"].intended_ns
    # The envelope holds microseconds.
    assert [events[f"again-{i}"].intended_ns - start for i in range(10)] == [
        i * 5_000_000 for i in range(10)
    ]
    assert all(event.sent_ns >= event.intended_ns for event in events.values())
    values = {decode_image(message).id: message.value() for message in stored()}
    assert values["again-0"] == values["again-3"] == values["again-9"]


def test_a_folder_is_sent_file_by_file(
    kafka: Kafka, topics: Topics, stored: Callable[[], list[Message]], tmp_path: Path
) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "cat" / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    done = run(kafka, topics, "folder", str(tmp_path), "--rate", "0")
    assert done.returncode == 0, done.stderr
    sent = {(message.value(), decode_image(message).content_type) for message in stored()}
    assert sent == {(b"", "image/png"), (b"\xff\xd8\xff\xe0 broken", "image/jpeg")}


def test_sigterm_stops_flushes_and_reports_exactly_what_arrived(
    kafka: Kafka, topics: Topics, stored: Callable[[], list[Message]]
) -> None:
    command = arguments(kafka, topics, "synthetic", "--size", "16", "--rate", "500",
                        "--duration", "3600", "--kafka", "linger.ms=500")  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            collect(kafka.bootstrap, [topics.images], lambda found: len(found) > 0)
            child.send_signal(signal.SIGTERM)
            output, _ = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 0
    arrived = len(stored())
    assert arrived > 0
    assert reported(output, "sent") == reported(output, "acknowledged") == arrived


def test_a_full_local_queue_is_waited_for_and_nothing_is_lost(
    kafka: Kafka, topics: Topics, stored: Callable[[], list[Message]]
) -> None:
    done = run(
        kafka, topics, "synthetic", "--size", "16", "--rate", "0", "--count", "2000",
        "--kafka", "queue.buffering.max.messages=10",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert reported(done.stdout, "acknowledged") == 2000
    assert len({message.key() for message in stored()}) == len(stored()) == 2000


def test_a_message_too_large_is_reported_and_the_others_go_on(kafka: Kafka, topics: Topics) -> None:
    config = librdkafka_config(kafka.bootstrap, {"message.max.bytes": "1000"})
    sender = Sender(config, topics.images, queue_timeout=10, connect_timeout=10)
    for size in (10, 5000, 10):
        sender.send(Outgoing(b"k", bytes(size), []), never)
    assert sender.flush(30, never) == 0
    sender.close()
    assert (sender.handed_over, sender.acknowledged) == (3, 2)
    assert sender.failed.total() == 1


def test_what_the_broker_refuses_is_counted_as_not_acknowledged(
    kafka: Kafka, topics: Topics
) -> None:
    config = librdkafka_config(kafka.bootstrap, {"message.max.bytes": str(64 << 20)})
    sender = Sender(config, topics.images, queue_timeout=10, connect_timeout=10)
    sender.send(Outgoing(b"k", b"small", []), never)
    sender.send(Outgoing(b"k", os.urandom(40 << 20), []), never)
    sender.send(Outgoing(b"k", b"small", []), never)
    assert sender.flush(60, never) == 0
    sender.close()
    assert (sender.acknowledged, sender.failed.total()) == (2, 1)


def test_a_broker_that_answers_nothing_ends_in_an_account_of_every_image(
    tmp_path: Path,
) -> None:
    with Kafka(tmp_path) as broker:
        create_topics(broker.bootstrap, {"images": 1})
        config = librdkafka_config(broker.bootstrap, {"queue.buffering.max.messages": "5"})
        sender = Sender(config, "images", queue_timeout=0.5, connect_timeout=10)
        broker.pause()
        try:
            for _ in range(5):
                sender.send(Outgoing(b"k", b"v", []), never)
            with pytest.raises(SendError, match="stayed full"):
                sender.send(Outgoing(b"k", b"v", []), never)
            assert sender.flush(0.2, never) == sender.pending > 0
            sender.close()
            assert sender.pending == 0
            assert sender.acknowledged + sender.failed.total() == sender.handed_over
        finally:
            broker.resume()


def test_listening_counts_the_results_of_its_own_run(kafka: Kafka, topics: Topics) -> None:
    command = arguments(
        kafka, topics, "cifar10", "--count", "20", "--rate", "0", "--run-id", "mine", "--listen",
        "--listen-timeout", "3", "--predictions-topic", topics.predictions,
        "--dead-letters-topic", topics.dead_letters,
    )  # fmt: skip
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topics.images, n, OFFSET_BEGINNING) for n in range(PARTITIONS)])
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            try:
                messages = [next_message(consumer) for _ in range(20)]
                for message in messages:
                    answer(producer, topics, message)
                producer.flush(30)
                output, _ = child.communicate(timeout=60)
            finally:
                child.kill()
    finally:
        consumer.close()
    # Image 0 is dead-lettered, 1 never answered, 2 answered twice, and only the cats are right.
    assert reported(output, "answered") == 18
    assert reported(output, "dead-lettered") == 1
    assert reported(output, "missing") == 1
    assert reported(output, "duplicates") == 1
    labels = [image.label for image in sources.cifar10(Encoding.RAW)[2:20]]
    assert reported(output, "correct") == labels.count("cat")
    assert child.returncode == 1


def next_message(consumer: Consumer) -> Message:
    message = consumer.poll(60)
    assert message is not None, "no image came"
    assert message.error() is None
    return message


def answer(producer: Producer, topics: Topics, message: Message) -> None:
    image = decode_image(message)
    number = int(image.id.removeprefix("mine-"))
    if number == 0:
        letter = DeadLetter("decode", "NotAnImage", "no", topics.images, 0, 0, 1, 0)
        out = encode_dead_letter(message, letter)
        producer.produce(topics.dead_letters, out.value, out.key, headers=list(out.headers))
    elif number > 1:
        send_prediction(producer, topics, image)
        # Another run's answer to the same number must not count.
        send_prediction(producer, topics, with_run(image, "other", f"other-{number}"))
        if number == 2:
            send_prediction(producer, topics, image)


def with_run(image: ImageEvent, run_id: str, id: str) -> ImageEvent:
    return ImageEvent(id, None, None, None, image.intended_ns, image.sent_ns, run_id=run_id)


def send_prediction(producer: Producer, topics: Topics, image: ImageEvent) -> None:
    stamps = dict.fromkeys(STAMPS, time.time_ns())
    top = (ScoredLabel(label="cat", class_id=3, score=0.9),)
    prediction = Prediction(image.id, "m", "1", top, stamps, 1)
    out = encode_prediction(image, None, prediction, "/test")
    producer.produce(topics.predictions, out.value, out.key, headers=list(out.headers))


def test_a_topic_that_does_not_exist_is_one_clear_line(kafka: Kafka) -> None:
    done = run(kafka, Topics("absent", "p", "d"), "cifar10", "--connect-timeout", "1")
    assert done.returncode == 1
    brokers = kafka.bootstrap
    assert done.stderr == (
        f"error: no such topic on {brokers}: absent; create it "
        f"(tkb topics create --brokers {brokers} absent) or name another\n"
    )


def test_no_broker_is_one_clear_line() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    done = subprocess.run(
        [sys.executable, str(RUN), "cifar10", "--brokers", address, "--connect-timeout", "1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot use Kafka at {address}: ")
    assert "Connection refused" in done.stderr
    assert done.stderr.count("\n") == 1, "nothing of the client's own log"


@pytest.mark.parametrize(
    "bad",
    [
        ["nonsense"],
        ["folder"],
        ["folder", "/nope"],
        ["cifar10", "--images-topic", "predictions"],
        ["cifar10", "somewhere"],
        ["synthetic", "--full"],
        ["cifar10", "--rate", "-1"],
        ["cifar10", "--kafka", "novalue"],
        ["cifar10", "--run-id", "x" * 300],
    ],
)
def test_wrong_usage_exits_with_2(bad: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), *bad], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_option_librdkafka_does_not_know_is_named(kafka: Kafka, topics: Topics) -> None:
    done = run(kafka, topics, "cifar10", "--kafka", "no.such.option=1")
    assert done.returncode == 2
    assert "no.such.option" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_former_name_of_the_topics_flag_still_works(
    kafka: Kafka, topics: Topics, stored: Callable[[], list[Message]]
) -> None:
    words = ["cifar10", "--count", "3", "--brokers", kafka.bootstrap, "--topic", topics.images]
    done = subprocess.run(
        [sys.executable, str(RUN), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(stored()) == 3
