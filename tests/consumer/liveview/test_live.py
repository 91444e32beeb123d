"""The live view as a user starts it, on a real Kafka."""

import http.client
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count, repeat
from pathlib import Path
from socket import create_server
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient
from playwright.sync_api import expect

from consumer.liveview.feed import MAX_BEHIND
from stack.kafka import Kafka
from stack.ports import free_ports
from stack.topics import create_topics
from tests.conftest import Topics
from tests.consumer.liveview.conftest import MORE_THAN_NOTHING
from tests.consumer.liveview.records import answer, image, png, refuse, stored
from tests.kafka_client import send
from wire.record import Outgoing, StoredRecord
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

pytestmark = pytest.mark.slow

RUN = Path(__file__).resolve().parents[3] / "consumer" / "liveview" / "run.py"


class LiveView:
    """A running live view, with its log."""

    def __init__(self, child: "subprocess.Popen[str]", log: Path) -> None:
        self.child = child
        self._log = log
        assert child.stdout is not None
        line = child.stdout.readline()
        found = re.search(r"http://127.0.0.1:(\d+)/", line)
        assert found is not None, line + self.log
        self.port = int(found[1])

    @property
    def log(self) -> str:
        return self._log.read_text()

    def frames(self) -> Generator[dict[str, Any], None, None]:
        """What its page is sent, for as long as somebody asks for more."""
        with ExitStack() as opened:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            opened.enter_context(closing(connection))
            connection.request("GET", "/events")
            for line in opened.enter_context(closing(connection.getresponse())):
                if line.startswith(b"data: "):
                    yield orjson.loads(line.removeprefix(b"data: "))

    def until(self, enough: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        with closing(self.frames()) as frames:
            return next(frame for frame in frames if enough(frame))

    def stop(self, name: signal.Signals = signal.SIGTERM) -> int:
        self.child.send_signal(name)
        return self.child.wait(60)


@contextmanager
def started(directory: Path, *options: str) -> Iterator[LiveView]:
    log = directory / "live-view.log"
    command = [sys.executable, str(RUN), "--port", "0", *options]
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as child,
    ):
        try:
            yield LiveView(child, log)
        finally:
            child.kill()


@contextmanager
def connected(kafka: Kafka, topics: Topics, directory: Path, *more: str) -> Iterator[LiveView]:
    """What is sent from now on is seen."""
    options = (
        "--brokers", kafka.bootstrap, "--images-topic", topics.images,
        "--predictions-topic", topics.predictions, "--dead-letters-topic", topics.dead_letters,
    )  # fmt: skip
    with started(directory, *options, *more) as view:
        view.until(lambda frame: frame["trouble"] is None)
        yield view


@pytest.fixture
def live(kafka: Kafka, topics: Topics, tmp_path: Path) -> Iterator[LiveView]:
    with connected(kafka, topics, tmp_path) as view:
        yield view


def send_answered(kafka: Kafka, topics: Topics, many: int, start: int = 0) -> None:
    sent = [image(number, label="cat") for number in range(start, start + many)]
    send(kafka.bootstrap, topics.images, sent)
    answers = [answer(stored(one)) for one in sent]
    send(kafka.bootstrap, topics.predictions, answers)


def test_images_answers_and_dead_letters_are_seen_and_nobody_is_disturbed(
    live: LiveView, kafka: Kafka, topics: Topics
) -> None:
    send_answered(kafka, topics, 20)
    broken = Outgoing(b"front-door", b"rubbish", [])
    send(kafka.bootstrap, topics.images, [broken])
    letter = refuse(StoredRecord(topics.images, 3, 10**6, broken.key, broken.value, []))
    send(kafka.bootstrap, topics.dead_letters, [letter])

    def all_came(frame: dict[str, Any]) -> bool:
        totals = frame["totals"]
        return (totals["images"], totals["answered"], totals["dead_lettered"]) == (21, 20, 1)

    live.until(all_came)
    shown = live.until(lambda frame: any(frame["boards"]["wall"]))
    card = next(card for card in shown["boards"]["wall"] if card and card["state"] == "answered")
    assert card["picture"]
    assert card["right"]
    with closing(http.client.HTTPConnection("127.0.0.1", live.port, timeout=60)) as connection:
        connection.request("GET", f"/pictures/{card['number']}")
        picture = connection.getresponse()
        assert picture.headers["Content-Type"] == "image/png"
        assert picture.read().startswith(png()[:8])
    groups = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_consumer_groups().result(60)
    assert "live-view" not in {group.group_id for group in groups.valid}
    assert live.stop() == 0
    assert "Traceback" not in live.log


def test_a_browser_sees_them_arrive(
    live: LiveView, kafka: Kafka, topics: Topics, page: Any
) -> None:
    page.goto(f"http://127.0.0.1:{live.port}/")
    page.locator("#status.live").wait_for()
    cards = page.locator("#wall .card.right")
    for number in range(60):  # some of each burst are shown
        send_answered(kafka, topics, 10, start=10 * number)
        if cards.count() >= 5:
            break
    expect(cards.nth(4)).to_be_visible()
    expect(page.locator(".card img").first).to_have_js_property("naturalWidth", 8)
    expect(page.locator("#rate")).to_have_text(MORE_THAN_NOTHING)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_page_open(live: LiveView, name: signal.Signals) -> None:
    with closing(live.frames()) as frames:
        next(frames)
        assert live.stop(name) == 0
    assert "Traceback" not in live.log


def test_a_broker_that_goes_is_said_and_its_return_too(tmp_path: Path) -> None:
    topics = Topics(IMAGES, PREDICTIONS, DEAD_LETTERS)
    with Kafka(tmp_path / "kafka") as broker:
        create_topics(broker.bootstrap, dict.fromkeys((IMAGES, PREDICTIONS, DEAD_LETTERS), 1))
        with started(tmp_path, "--brokers", broker.bootstrap) as live:
            live.until(lambda frame: frame["trouble"] is None)
            broker.kill()
            said = live.until(lambda frame: frame["trouble"] is not None)["trouble"]
            assert f"cannot read from Kafka at {broker.bootstrap}" in said
            broker.start()
            live.until(lambda frame: frame["trouble"] is None)
            send_answered(broker, topics, 5)
            live.until(lambda frame: frame["totals"]["answered"] == 5)
            assert live.stop() == 0
            assert f"reading from Kafka at {broker.bootstrap}" in live.log
            assert "Traceback" not in live.log


def test_one_that_has_fallen_behind_goes_on_with_what_happens_now(
    kafka: Kafka, topics: Topics, tmp_path: Path
) -> None:
    # It looks often enough to see the backlog before it has read it, however fast it reads.
    with connected(kafka, topics, tmp_path, "--kafka", "statistics.interval.ms=50") as live:
        live.child.send_signal(signal.SIGSTOP)
        backlog = repeat(Outgoing(b"k", b"x", []), 5 * MAX_BEHIND)
        send(kafka.bootstrap, topics.images, backlog)
        live.child.send_signal(signal.SIGCONT)
        live.until(lambda frame: frame["totals"]["skipped"] > MAX_BEHIND)
        assert "passed over" in live.log
        # What it reads after that begins at a moment that only its answers show. A frame is asked
        # for anew each time: those of an open page would wait in its socket, older each time.
        batches = count(0, 5)
        while not live.until(lambda _: True)["totals"]["answered"]:
            send_answered(kafka, topics, 5, next(batches))


def test_no_broker_is_said_on_the_page_and_once_in_the_log(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    with started(tmp_path, "--brokers", nobody) as live:
        trouble = f"cannot read from Kafka at {nobody}"
        live.until(lambda frame: trouble in (frame["trouble"] or ""))
        assert live.stop() == 0
        assert trouble in live.log
        assert "Traceback" not in live.log


def test_its_own_address_is_not_taken_for_kafka(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    own = f"127.0.0.1:{port}"
    with started(tmp_path, "--port", str(port), "--brokers", own) as live:
        trouble = f"{own} speaks HTTP and not Kafka's protocol"
        live.until(lambda frame: trouble in (frame["trouble"] or ""))
        assert live.stop() == 0
        assert trouble in live.log
        assert "Invalid" not in live.log


def test_a_topic_that_does_not_exist_is_said(kafka: Kafka, tmp_path: Path) -> None:
    with started(tmp_path, "--brokers", kafka.bootstrap, "--images-topic", "absent") as live:
        live.until(lambda frame: ": absent; create it" in (frame["trouble"] or ""))


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    "bad",
    [
        ["--kafka", "x"],
        ["--kafka", "no.such=1"],
        ["--port", "70000"],
        ["--images-topic", "predictions"],
    ],
)
def test_wrong_usage_exits_with_2(bad: list[str]) -> None:
    done = run(*bad)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(RUN), *options],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
