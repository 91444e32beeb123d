"""One image is one trace, from the producer through every stage to the consumer."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from bridge.app import App
from bridge.config import Settings
from bridge.images import DecodedImage, EndedRequest, Publication, ReceivedRecord
from bridge.inference import InferenceError
from bridge.kafka.offsets import PartitionTracker
from bridge.tracing import RPC, BridgeTracing
from cli.signals import StopSignal
from consumer.measuring.matching import Matcher
from consumer.measuring.measure import Collector, measure
from consumer.measuring.measure import Topics as Read
from consumer.measuring.tracing import ConsumerTracing
from consumer.reader import TopicReader
from consumer.reader import librdkafka_config as reader_config
from producer.encoding import EncodedImage, Encoding
from producer.naming import RunNames
from producer.pacing import Schedule
from producer.replay import Replay
from producer.sender import Sender, librdkafka_config
from producer.sources import cifar10
from producer.tracing import ProducerTracing
from stack.kafka import Kafka
from stack.triton import Triton
from tests.conftest import Topics
from tests.kafka_client import collect, send
from wire.image import decode_image
from wire.record import Outgoing, StoredRecord, raw_bytes
from wire.trace import parse_traceparent, read_traceparent

GOOD = cifar10(Encoding.PNG, limit=1)[0]
BAD = EncodedImage(b"no image", "image/png", None)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def a_provider(memory: InMemorySpanExporter, sampler: Sampler | None = None) -> TracerProvider:
    provider = TracerProvider(sampler=sampler or ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return provider


@contextmanager
def bridging(
    kafka: Kafka, triton: Triton, topics: Topics, provider: TracerProvider, delivery: str
) -> Iterator[None]:
    """A bridge in this process, whose spans stay in it."""
    settings = Settings.model_validate(
        {
            "brokers": kafka.bootstrap,
            "triton": triton.grpc,
            "images_topic": topics.images,
            "predictions_topic": topics.predictions,
            "dead_letters_topic": topics.dead_letters,
            "group": f"group-{topics.images}",
            "delivery": delivery,
            "http_port": 0,
        }
    )
    app = App(settings, BridgeTracing(provider, settings.model, settings.group))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            app.run()
        except BaseException as error:
            failures.append(error)

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        app.stop()
        thread.join(60)
    assert not thread.is_alive()
    assert not failures


def produce_and_measure(
    kafka: Kafka, topics: Topics, images: list[EncodedImage], provider: TracerProvider
) -> None:
    """Produce and measure as producer/run.py and consumer/run.py do, but in this process."""
    read = Read(topics.images, topics.predictions, topics.dead_letters)
    reader = TopicReader(
        reader_config(kafka.bootstrap, {}),
        [topics.images, topics.predictions, topics.dead_letters],
        "earliest",
        30,
    )
    matcher = Matcher(1000)
    collector = Collector(matcher, read, None, ConsumerTracing(provider))
    sender = Sender(librdkafka_config(kafka.bootstrap, {}), topics.images, 60, 30)
    replay = Replay(
        images, "test", "run", Schedule(0, len(images), None), 60, 60, StopSignal(),
        RunNames("run"), ProducerTracing(provider, topics.images),
    )  # fmt: skip
    assert replay.execute(sender, None).complete
    measure(
        reader, collector, matcher, count=len(images), idle=120, start_timeout=120,
        stop=lambda: False, show=lambda _: None,
    )  # fmt: skip
    reader.close()
    assert matcher.resolved == len(images)


def parts(memory: InMemorySpanExporter) -> dict[int, dict[str, list[ReadableSpan]]]:
    """Spans by trace and name."""
    found: dict[int, dict[str, list[ReadableSpan]]] = defaultdict(lambda: defaultdict(list))
    for span in memory.get_finished_spans():
        found[span.context.trace_id][span.name].append(span)
    return found


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def under(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == parent.context.span_id


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_an_image_is_one_trace_through_every_stage(
    kafka: Kafka, triton: Triton, topics: Topics, memory: InMemorySpanExporter, delivery: str
) -> None:
    provider = a_provider(memory)
    count = 40
    with bridging(kafka, triton, topics, provider, delivery):
        produce_and_measure(kafka, topics, [GOOD] * count, provider)
    traces = parts(memory)
    assert len(traces) == count
    calls = {span.context.span_id: span for trace in traces.values() for span in trace.pop(RPC, ())}
    for trace in traces.values():
        (sent,) = trace.pop(f"send {topics.images}")
        (received,) = trace.pop(f"receive {topics.images}")
        (process,) = trace.pop(f"process {topics.images}")
        (answer,) = trace.pop(f"send {topics.predictions}")
        (consumed,) = trace.pop(f"receive {topics.predictions}")
        (decode,), (wait,), (infer,) = (
            trace.pop(name) for name in ("decode", "slot_wait", "triton")
        )
        assert not trace
        assert sent.parent is None
        assert under(received, sent)
        assert under(process, sent)
        assert all(under(stage, process) for stage in (decode, wait, infer, answer))
        assert under(consumed, answer)
        assert (decode.start_time, infer.end_time) == (process.start_time, answer.start_time)
        assert (decode.end_time, wait.end_time) == (wait.start_time, infer.start_time)
        assert (sent.kind, process.kind, answer.kind, consumed.kind) == (
            SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.PRODUCER, SpanKind.CONSUMER,
        )  # fmt: skip
        name = said(process)["messaging.message.id"]
        assert name == said(sent)["messaging.message.id"] == said(consumed)["messaging.message.id"]
        # There and back: the stage is linked to the call, and the call to the image.
        (link,) = infer.links
        call = calls[link.context.span_id]
        assert process.context.span_id in {one.context.span_id for one in call.links}
        assert (call.start_time, call.end_time) == (infer.start_time, infer.end_time)
    sizes = [said(call)["triton.request.batch_size"] for call in calls.values()]
    assert sizes == [len(call.links) for call in calls.values()]
    assert sum(sizes) == count


def test_a_dead_letter_ends_its_trace_as_failed(
    kafka: Kafka, triton: Triton, topics: Topics, memory: InMemorySpanExporter
) -> None:
    provider = a_provider(memory)
    with bridging(kafka, triton, topics, provider, "at-least-once"):
        produce_and_measure(kafka, topics, [BAD], provider)
    (trace,) = parts(memory).values()
    (process,) = trace[f"process {topics.images}"]
    (letter,) = trace[f"send {topics.dead_letters}"]
    (consumed,) = trace[f"receive {topics.dead_letters}"]
    assert under(letter, process)
    assert under(consumed, letter)
    for span in (process, consumed):
        assert span.status.status_code is StatusCode.ERROR
        assert said(span)["error.type"] == "decode/not_an_image"


def test_strangers_traces_are_joined_as_they_ask(
    kafka: Kafka, triton: Triton, topics: Topics, memory: InMemorySpanExporter
) -> None:
    """Recorded, not recorded, malformed, none, and one whose envelope can't be read."""

    def sent(name: str, *headers: tuple[str, bytes | None]) -> Outgoing:
        return Outgoing(name.encode(), GOOD.value, list(headers))

    yes, no = f"00-{TRACE}-{SPAN}-01", f"00-{'1' * 32}-{SPAN}-00"
    with bridging(kafka, triton, topics, a_provider(memory), "at-least-once"):
        send(
            kafka.bootstrap,
            topics.images,
            [
                sent("yes", ("traceparent", yes.encode()), ("tracestate", b"vendor=1")),
                sent("no", ("traceparent", no.encode())),
                sent("malformed", ("traceparent", b"00-rubbish-01")),
                sent("none"),
                sent("unreadable", ("ce_time", b"yesterday"), ("traceparent", yes.encode())),
            ],
        )
        messages = collect(
            kafka.bootstrap, [topics.predictions, topics.dead_letters], lambda found: len(found) > 4
        )
    headers: dict[bytes, dict[str, Any]] = {
        raw_bytes(one.key()): dict(one.headers() or ()) for one in messages
    }
    roots = {
        said(span)["messaging.message.id"]: span
        for span in memory.get_finished_spans()
        if span.name == f"process {topics.images}"
    }
    assert roots.keys() == {"yes", "malformed", "none", "unreadable"}
    assert headers[b"no"]["traceparent"] == no.encode()
    for name in ("yes", "unreadable"):
        parent = roots[name].parent
        assert parent is not None
        assert (parent.trace_id, parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
    for name in ("malformed", "none"):
        assert roots[name].parent is None
    for name, root in roots.items():
        traceparent = str(read_traceparent(headers[name.encode()]["traceparent"]))
        assert parse_traceparent(traceparent).trace_id == root.context.trace_id
    assert "tracestate" not in headers[b"yes"]


def an_arrival(offset: int, traceparent: str | None = None) -> ReceivedRecord:
    headers = [] if traceparent is None else [("traceparent", traceparent.encode())]
    record = StoredRecord(record_offset=offset, record_headers=headers)
    tracker: PartitionTracker[Publication] = PartitionTracker("images", 0)
    return ReceivedRecord(record, tracker, offset, time.time_ns())


def a_work(tracing: BridgeTracing, arrival: ReceivedRecord) -> DecodedImage:
    event = decode_image(arrival.record)
    tracing.begin(arrival, event)
    return DecodedImage(arrival, event, b"", arrival.received_ns)


def test_a_call_that_fails_says_so_in_every_image(memory: InMemorySpanExporter) -> None:
    tracing = BridgeTracing(a_provider(memory), "m", "g")
    batch = [a_work(tracing, an_arrival(offset)) for offset in range(2)]
    now = time.time_ns()
    call, traceparent = tracing.request(batch, now)
    assert call is not None
    assert traceparent is not None
    assert f"{call.get_span_context().span_id:016x}" in traceparent
    tracing.respond(
        EndedRequest(batch, now, now, InferenceError("UNAVAILABLE", "gone\nfor good"), call)
    )
    for image in batch:
        tracing.drop(image.arrival, now)
    failed, *spans = (span for span in memory.get_finished_spans() if "receive" not in span.name)
    assert (failed.status.status_code, failed.status.description) == (
        StatusCode.ERROR, "gone for good",
    )  # fmt: skip
    for span in spans:
        assert [event.name for event in span.events] == ["request failed", "partition revoked"]
    assert len(spans) == 2


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)])
def test_an_image_that_is_not_recorded_has_no_span(
    memory: InMemorySpanExporter, sampler: Sampler
) -> None:
    tracing = BridgeTracing(a_provider(memory, sampler), "m", "g")
    image = a_work(tracing, an_arrival(0))
    assert image.arrival.span is None
    assert tracing.request([image], 1) == (None, None)
    outcome = EndedRequest([image], 1, 1, InferenceError("UNAVAILABLE", ""), None)
    tracing.respond(outcome)
    assert tracing.answer(image, outcome, "predictions", 1) is image.event
    assert not memory.get_finished_spans()


def test_a_sampler_that_asks_nobody_is_asked_for_every_image(memory: InMemorySpanExporter) -> None:
    tracing = BridgeTracing(a_provider(memory, ALWAYS_ON), "m", "g")
    image = a_work(tracing, an_arrival(0, f"00-{TRACE}-{SPAN}-00"))
    assert image.arrival.span is not None
