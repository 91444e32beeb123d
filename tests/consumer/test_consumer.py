"""The consumer on a real Kafka, with answers made here."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from PIL import Image

from consumer.summary import Summary, SummaryError
from stack.kafka import Kafka
from stack.ports import free_ports
from tests.conftest import Topics
from wire.deadletter import DeadLetter, encode_dead_letter
from wire.image import ImageEvent, decode_image, encode_image
from wire.prediction import Prediction, ScoredLabel, encode_prediction
from wire.record import Outgoing, StoredRecord

pytestmark = pytest.mark.slow

RUN = Path(__file__).resolve().parents[2] / "consumer" / "run.py"
MS = 1_000_000

Measuring = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


class Bridge:
    """Sends images and the answers that a bridge would give."""

    def __init__(self, kafka: Kafka, topics: Topics) -> None:
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap})
        self._topics = topics

    def image(self, number: int, run_id: str = "r", label: str = "cat") -> StoredRecord:
        now = time.time_ns()
        out = encode_image(
            id=f"{run_id}-{number}", value=b"x", content_type="image/png", source="/test",
            intended_ns=now - 20 * MS, sent_ns=now - 10 * MS, run_id=run_id, label=label,
        )  # fmt: skip
        self._send(self._topics.images, out)
        return StoredRecord(record_key=out.key, record_headers=out.headers)

    def answer(self, record: StoredRecord, label: str = "cat") -> None:
        image = decode_image(record)
        at = image.sent_ns
        stamps = {
            "intended": image.intended_ns,
            "sent": at,
            "received": at + 2 * MS,
            "decoded": at + 3 * MS,
            "requested": at + 5 * MS,
            "inferred": at + 9 * MS,
        }
        top = (ScoredLabel(label=label, class_id=3, score=0.9),)
        self._predict(image, Prediction(image.id, "resnet", "1", top, stamps, 8))

    def refuse(self, record: StoredRecord, reason: str = "NotAnImage") -> None:
        letter = DeadLetter("decode", reason, "not an image", self._topics.images, 0, 0, 1, 0)
        self._send(self._topics.dead_letters, encode_dead_letter(record, letter))

    def rubbish(self, run_id: str = "r") -> None:
        self._send(self._topics.predictions, Outgoing(None, b"{", [("ce_runid", run_id.encode())]))

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def _predict(self, image: ImageEvent, prediction: Prediction) -> None:
        out = encode_prediction(image, image.id.encode(), prediction, "/test")
        self._send(self._topics.predictions, out)

    def _send(self, topic: str, out: Outgoing) -> None:
        self._producer.produce(topic, out.value, out.key, headers=list(out.headers))


@pytest.fixture
def bridge(kafka: Kafka, topics: Topics) -> Bridge:
    return Bridge(kafka, topics)


@pytest.fixture
def measuring(kafka: Kafka, topics: Topics, tmp_path: Path) -> Measuring:
    @contextmanager
    def start(*more: str, run_id: str | None = "r") -> Iterator["subprocess.Popen[str]"]:
        ready = tmp_path / "ready"
        command = [
            sys.executable, str(RUN), "--brokers", kafka.bootstrap,
            "--images-topic", topics.images, "--predictions-topic", topics.predictions,
            "--dead-letters-topic", topics.dead_letters, "--output", str(tmp_path / "out"),
            "--ready-file", str(ready), *(["--run-id", run_id] if run_id else []), *more,
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            try:
                while not ready.exists():
                    assert child.poll() is None, child.communicate()
                    time.sleep(0.02)
                yield child
            finally:
                child.kill()

    return start


@pytest.fixture
def summary(tmp_path: Path) -> Callable[[], Summary]:
    return lambda: Summary.from_json((tmp_path / "out" / "latency_summary.json").read_bytes())


def finish(child: "subprocess.Popen[str]") -> str:
    output, errors = child.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return output + errors


def test_a_run_with_everything_resolved_is_valid_and_ends_by_count(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary], tmp_path: Path
) -> None:
    with measuring("--count", "50", "--warmup", "5") as child:
        for number in range(50):
            image = bridge.image(number)
            if number == 7:
                bridge.refuse(image)
            else:
                bridge.answer(image, label="cat" if number % 10 else "dog")
        bridge.flush()
        output = finish(child)
    assert child.returncode == 0, output
    assert "Valid run." in output
    found = summary()
    assert found.valid
    assert found.ended_by == "count"
    assert (found.sent, found.answered, found.dead_lettered, found.missing) == (50, 49, 1, 0)
    assert (found.labelled, found.correct) == (49, 44)
    assert found.dead_letters_by_reason == {"NotAnImage": 1}
    assert found.models == {"resnet/1": 49}
    assert found.mean_request == 8
    assert found.intended is not None
    assert found.sent_latency is not None
    assert found.intended.count == 44  # 50, less 5 of warm-up and a dead letter
    # What each image says of itself: sent 10 ms after it was due.
    assert found.intended.mean_ms - found.sent_latency.mean_ms == pytest.approx(10, abs=0.01)
    stages = {stage.name: stage.mean_ms for stage in found.stages}
    assert stages["producer_delay"] == pytest.approx(10, abs=0.01)
    assert stages["kafka_in"] == pytest.approx(2)
    assert stages["decode"] == pytest.approx(1)
    assert stages["slot_wait"] == pytest.approx(2)
    assert stages["triton"] == pytest.approx(4)
    assert sum(stages.values()) == pytest.approx(found.intended.mean_ms, abs=0.01)
    with Image.open(tmp_path / "out" / "latency_histogram.png") as figure:
        figure.load()
        assert figure.format == "PNG"
        assert figure.width >= 1000
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "latency_results.txt",
        "latency_summary.json",
        "latency_histogram.png",
        "latency_report.html",
    }


def test_the_text_has_a_line_an_image_and_says_what_became_of_each(
    bridge: Bridge, measuring: Measuring, tmp_path: Path
) -> None:
    with measuring("--idle", "2") as child:
        for number in range(4):
            image = bridge.image(number)
            if number == 0:
                bridge.answer(image, label="a\tb")
            elif number == 1:
                bridge.refuse(image, "TooLarge")
            elif number == 2:
                bridge.answer(image)
        bridge.flush()
        finish(child)
    text = (tmp_path / "out" / "latency_results.txt").read_text()
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    assert all(len(line) == 4 for line in lines)
    by_id = {line[0]: line[1:] for line in lines}
    assert by_id.keys() == {"r-0", "r-1", "r-2", "r-3"}
    assert by_id["r-0"][:2] == ["a b", "0.900000"]
    assert float(by_id["r-2"][2]) > 0
    assert by_id["r-1"] == ["DEAD-LETTERED:TooLarge", "-", "-"]
    assert by_id["r-3"] == ["MISSING", "-", "-"]
    assert re.search(r"^# missing +1$", text, re.MULTILINE)


def test_missing_images_and_duplicates_are_counted_and_make_the_run_invalid(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    with measuring("--idle", "2") as child:
        for number in range(20):
            image = bridge.image(number)
            if number < 15:
                bridge.answer(image)
            if number < 4:
                bridge.answer(image)
            if number == 4:
                bridge.refuse(image)
        bridge.flush()
        output = finish(child)
    assert child.returncode == 1
    assert "INVALID" in output
    found = summary()
    assert not found.valid
    assert found.ended_by == "idle"
    assert (found.sent, found.answered, found.missing, found.duplicates) == (20, 15, 5, 5)
    assert found.reasons == ["5 images were neither answered nor dead-lettered"]


@pytest.fixture
def terminal() -> Iterator[None]:
    """Children get SIGHUP, even where the tests themselves are run by nohup, and they inherit
    that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_its_results_are_written(
    name: signal.Signals, bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    with measuring() as child:
        bridge.answer(bridge.image(0))
        bridge.flush()
        # What was sent before the live line told of it has been read.
        assert child.stderr is not None
        for line in child.stderr:
            if "1 answered" in line:
                break
        child.send_signal(name)
        finish(child)
    found = summary()
    assert found.ended_by == "signal"
    assert found.answered == 1
    assert child.returncode == 0


def test_only_the_run_asked_for_is_measured(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    with measuring("--count", "5") as child:
        for number in range(5):
            bridge.image(number, run_id="other")
            bridge.answer(bridge.image(number))
        bridge.rubbish(run_id="other")
        bridge.flush()
        finish(child)
    assert child.returncode == 0
    assert summary().sent == 5


def test_what_is_no_prediction_makes_the_run_invalid(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    with measuring("--count", "1") as child:
        bridge.rubbish()
        bridge.flush()
        bridge.answer(bridge.image(0))
        bridge.flush()
        finish(child)
    assert child.returncode == 1
    assert summary().unreadable == 1


def test_an_image_with_a_broken_envelope_is_matched_with_its_dead_letter(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    broken = Outgoing(b"k", b"x", [("ce_id", b"broken"), ("ce_time", b"yesterday")])
    with measuring("--count", "1", run_id=None) as child:
        bridge._send(bridge._topics.images, broken)
        bridge.refuse(
            StoredRecord(record_key=broken.key, record_headers=broken.headers), "Contract"
        )
        bridge.flush()
        finish(child)
    found = summary()
    assert (found.sent, found.dead_lettered, found.missing) == (1, 1, 0)


def test_a_late_reader_measures_to_when_answers_were_stored_not_to_when_it_read_them(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    sent = [bridge.image(number) for number in range(10)]
    for image in sent:
        bridge.answer(image)
    bridge.flush()
    stored_ns = time.time_ns()
    with measuring("--start", "earliest", "--count", "10") as child:
        output = finish(child)
    assert child.returncode == 0
    found = summary()
    assert (found.answered, found.stored) == (10, 10)
    assert "10 answers were on their topic before reading began" in output
    assert found.intended is not None
    longest_ms = (stored_ns - min(decode_image(image).intended_ns for image in sent)) / MS
    assert 0 < found.intended.max_ms <= longest_ms + 1


def test_a_run_that_was_joined_half_way_is_invalid(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    for number in range(5):
        bridge.answer(bridge.image(number))
    bridge.flush()
    with measuring("--start", "earliest", "--count", "10") as child:
        for number in range(5, 10):
            bridge.answer(bridge.image(number))
        bridge.flush()
        finish(child)
    assert child.returncode == 1
    assert "5 of 10 answers were on their topic before reading began" in summary().reasons[0]


def test_without_images_the_count_says_what_is_missing(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    with measuring("--no-images", "--count", "10", "--idle", "2") as child:
        for number in range(8):
            bridge.answer(bridge.image(number))
        bridge.flush()
        finish(child)
    assert child.returncode == 1
    found = summary()
    assert (found.sent, found.answered, found.missing) == (10, 8, 2)


def test_images_beyond_the_bound_are_said_and_make_the_run_invalid(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    with measuring("--max-images", "3", "--idle", "2") as child:
        for number in range(5):
            bridge.answer(bridge.image(number))
        bridge.flush()
        output = finish(child)
    assert child.returncode == 1
    assert "--max-images" in output
    found = summary()
    assert found.sent <= 3
    assert found.unmeasured >= 4


def test_a_run_in_which_nothing_came_says_so(
    measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    with measuring("--start-timeout", "0.5") as child:
        output = finish(child)
    assert child.returncode == 1
    assert "no image was seen" in output
    assert summary().ended_by == "nothing-came"


def test_no_triton_costs_a_warning_and_not_the_run(
    bridge: Bridge, measuring: Measuring, summary: Callable[[], Summary]
) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with measuring("--count", "1", "--triton", address) as child:
        bridge.answer(bridge.image(0))
        bridge.flush()
        output = finish(child)
    assert child.returncode == 0
    assert "warning: no statistics from Triton" in output
    assert summary().triton == []


def test_a_topic_that_does_not_exist_is_one_clear_line(kafka: Kafka, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--brokers", kafka.bootstrap, "--images-topic", "absent",
         "--output", str(tmp_path), "--connect-timeout", "1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no such topic on {kafka.bootstrap}: absent; create it")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "bad",
    [
        ["--start", "middle"],
        ["--kafka", "x"],
        ["--count", "0"],
        ["--images-topic", "predictions"],
        ["--triton", "http://localhost:8000"],
        ["--kafka", "no.such=1"],
    ],
)
def test_wrong_usage_exits_with_2(bad: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), *bad], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_summary_of_another_version_is_refused(
    bridge: Bridge, measuring: Measuring, tmp_path: Path
) -> None:
    with measuring("--count", "1") as child:
        bridge.answer(bridge.image(0))
        bridge.flush()
        finish(child)
    text = (tmp_path / "out" / "latency_summary.json").read_bytes()
    assert Summary.from_json(text).to_json() == text
    changed = {**json.loads(text), "version": 99}
    with pytest.raises(SummaryError, match="version 99"):
        Summary.from_json(json.dumps(changed).encode())
    with pytest.raises(SummaryError, match="not a latency summary"):
        Summary.from_json(b"{}")
