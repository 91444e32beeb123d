"""The traces of images: a span for each stage of an image, and one for each call of Triton.

Imported only when tracing is on. Spans are made from the stamps that images carry anyway. An image
whose trace is not recorded has no span; it costs one look at its header.
"""

from collections.abc import Sequence

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context

from bridge.images import DecodedImage, EndedRequest, ReceivedRecord
from bridge.inference import Answer
from tracing.context import remote_context, traceparent_of
from wire.deadletter import DeadLetter, one_line
from wire.image import ImageEvent, image_id
from wire.trace import is_sampled, record_traceparent

RPC = "inference.GRPCInferenceService/ModelInfer"


class BridgeTracing:
    """Called on the pipeline's thread alone.

    Names follow OpenTelemetry's conventions for messaging and RPC. Each recorded image has:

        receive IMAGES      from sent to received: in Kafka
        process IMAGES      from received until its prediction was handed to Kafka's client;
                            the parent of:
          decode            from received to decoded, including the wait for a decoder
          slot_wait         from decoded to requested: the wait for a slot
          triton            from requested to inferred; linked to the call
          send PREDICTIONS  from inferred to handed over; the prediction's `traceparent` names it

    A call of Triton belongs to many images. It is a span in the trace of the first of them that is
    recorded, with a link to each.
    """

    def __init__(self, provider: TracerProvider, model: str, group: str) -> None:
        self._tracer = provider.get_tracer("triton-kafka-bridge")
        # If the sampler follows its parent, the sender has decided, and need not be asked again.
        self._follow = isinstance(provider.sampler, ParentBased)
        self._model = model
        self._common = {"messaging.system": "kafka", "messaging.consumer.group.name": group}

    def begin(self, arrival: ReceivedRecord, event: ImageEvent | None) -> None:
        """Open the span of an image that was received, if its trace is recorded.

        Args:
            event: its envelope; None where it cannot be read.
        """
        parent = record_traceparent(arrival.record) if event is None else event.traceparent
        if self._follow and parent is not None and not is_sampled(parent):
            return
        tracker = arrival.tracker
        context = remote_context(parent)
        span = self._tracer.start_span(
            f"process {tracker.topic}", context, SpanKind.CONSUMER, start_time=arrival.received_ns
        )
        if not span.is_recording():
            return
        arrival.span = span
        attributes: dict[str, str | int] = {
            **self._common,
            "messaging.destination.name": tracker.topic,
            "messaging.destination.partition.id": str(tracker.partition),
            "messaging.kafka.offset": arrival.record.offset(),
            "messaging.message.id": image_id(arrival.record) if event is None else event.id,
        }
        span.set_attributes({**attributes, "messaging.operation.type": "process"})
        if event is not None and event.sent_ns <= arrival.received_ns:
            # It is a sibling if the image has a parent, else a child: a trace has only one root.
            self._tracer.start_span(
                f"receive {tracker.topic}",
                context if parent is not None else set_span_in_context(span),
                SpanKind.CONSUMER,
                {**attributes, "messaging.operation.type": "receive"},
                start_time=event.sent_ns,
            ).end(arrival.received_ns)

    def request(
        self, images: Sequence[DecodedImage], requested_ns: int
    ) -> tuple[Span, str] | tuple[None, None]:
        """Open the span of a call of Triton, if one of its images has a span; returns it with its
        `traceparent`."""
        spans = [image.arrival.span for image in images if image.arrival.span is not None]
        if not spans:
            return None, None
        call = self._tracer.start_span(
            RPC,
            set_span_in_context(spans[0]),
            SpanKind.CLIENT,
            {
                "rpc.system": "grpc",
                "rpc.service": RPC.partition("/")[0],
                "rpc.method": RPC.partition("/")[2],
                "triton.model.name": self._model,
                "triton.request.batch_size": len(images),
            },
            links=[Link(span.get_span_context()) for span in spans],
            start_time=requested_ns,
        )
        return call, traceparent_of(call)

    def respond(self, outcome: EndedRequest) -> None:
        """End the span of a call that was answered or has failed; each image notes a failure."""
        call, result, at_ns = outcome.call, outcome.result, outcome.inferred_ns
        if call is None:
            return
        if isinstance(result, Answer):
            call.set_attribute("triton.model.version", result.version)
        else:
            call.set_attribute("error.type", result.status)
            call.set_status(Status(StatusCode.ERROR, one_line(str(result))))
            for span in (image.arrival.span for image in outcome.batch):
                if span is not None:
                    span.add_event("request failed", {"error.type": result.status}, at_ns)
        call.end(at_ns)

    def answer(
        self, image: DecodedImage, outcome: EndedRequest, topic: str, now_ns: int
    ) -> ImageEvent:
        """Record the stages of an image, which are over.

        Returns:
            Its envelope, with the `traceparent` for its prediction.
        """
        span = image.arrival.span
        if span is None:
            return image.event
        context = set_span_in_context(span)
        start = self._tracer.start_span
        links = [] if outcome.call is None else [Link(outcome.call.get_span_context())]
        requested_ns, inferred_ns = outcome.requested_ns, outcome.inferred_ns
        start("decode", context, start_time=image.arrival.received_ns).end(image.decoded_ns)
        start("slot_wait", context, start_time=image.decoded_ns).end(requested_ns)
        start("triton", context, links=links, start_time=requested_ns).end(inferred_ns)
        traceparent = self._send(span, topic, image.event.id, inferred_ns, now_ns)
        return image.event._replace(traceparent=traceparent)

    def dead_letter(
        self, arrival: ReceivedRecord, letter: DeadLetter, topic: str, now_ns: int
    ) -> str | None:
        """End the span of a dead-lettered image; returns the `traceparent` for its dead letter."""
        span = arrival.span
        if span is None:
            return None
        span.set_attribute("error.type", f"{letter.stage}/{letter.error_class}")
        span.set_status(Status(StatusCode.ERROR, one_line(letter.message)))
        return self._send(span, topic, image_id(arrival.record), now_ns, now_ns)

    def expire(self, arrival: ReceivedRecord, stage: str, now_ns: int) -> None:
        """End the span of an image that is dropped because it is too old."""
        if arrival.span is not None:
            arrival.span.set_attribute("error.type", f"{stage}/expired")
            arrival.span.end(now_ns)

    def drop(self, arrival: ReceivedRecord, now_ns: int) -> None:
        """End the span of an image whose partition went to another bridge, which answers it."""
        if arrival.span is not None:
            arrival.span.add_event("partition revoked", timestamp=now_ns)
            arrival.span.end(now_ns)

    def _send(self, span: Span, topic: str, id: str, start_ns: int, end_ns: int) -> str:
        """End an image's span with a span for its outcome; returns the `traceparent` that goes
        on."""
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
            "messaging.message.id": id,
        }
        send = self._tracer.start_span(
            f"send {topic}", set_span_in_context(span), SpanKind.PRODUCER, attributes,
            start_time=start_ns,
        )  # fmt: skip
        send.end(end_ns)
        span.end(end_ns)
        return traceparent_of(send)
