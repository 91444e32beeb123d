"""The last span of an image's trace. Imported only when tracing is on."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from tracing.context import remote_context
from wire.deadletter import decode_dead_letter
from wire.image import image_id
from wire.prediction import Prediction
from wire.record import KafkaRecord
from wire.trace import is_sampled, record_traceparent


class ConsumerTracing:
    """Ends the traces of predictions and dead letters; begins none."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("image-consumer")

    def prediction(self, record: KafkaRecord, prediction: Prediction, consumed_ns: int) -> None:
        """Add a span from Triton's answer until the prediction was read, with its latency."""
        inferred_ns = prediction.stamps["inferred"]
        span = self._begin(record, prediction.traceparent, prediction.id, inferred_ns, consumed_ns)
        if span is not None:
            latency_ns = consumed_ns - prediction.stamps["intended"]
            span.set_attribute("image.latency_ms", latency_ns / 1e6)
            span.end(consumed_ns)

    def dead_letter(self, record: KafkaRecord, consumed_ns: int) -> None:
        """Add a failed span from the dead-lettering until the dead letter was read."""
        parent = record_traceparent(record)
        letter = decode_dead_letter(record)
        written_ns = letter.timestamp_ms * 1_000_000
        span = self._begin(record, parent, image_id(record), written_ns, consumed_ns)
        if span is not None:
            span.set_attribute("error.type", f"{letter.stage}/{letter.error_class}")
            span.set_status(Status(StatusCode.ERROR, letter.message))
            span.end(consumed_ns)

    def _begin(
        self, record: KafkaRecord, parent: str | None, id: str, start_ns: int, end_ns: int
    ) -> Span | None:
        if parent is None or not is_sampled(parent):
            return None
        return self._tracer.start_span(
            f"receive {record.topic()}",
            remote_context(parent),
            SpanKind.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "receive",
                "messaging.destination.name": record.topic() or "",
                "messaging.destination.partition.id": str(record.partition()),
                "messaging.kafka.offset": record.offset() or 0,
                "messaging.message.id": id,
            },
            # A stranger's stamp, or another machine's clock, must not make its duration negative.
            start_time=start_ns if 0 < start_ns <= end_ns else end_ns,
        )
