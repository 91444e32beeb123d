"""The first span of an image's trace. Imported only when tracing is on."""

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind

from tracing.context import traceparent_of


class ProducerTracing:
    """One root span for each image, from its intended time until Kafka's client had it."""

    def __init__(self, provider: TracerProvider, topic: str) -> None:
        self._tracer = provider.get_tracer("image-producer")
        self._topic = topic

    def begin(self, id: str, intended_ns: int) -> tuple[Span, str]:
        """The span, which the caller must end, and the image's `traceparent`, also if not
        recorded."""
        span = self._tracer.start_span(
            f"send {self._topic}",
            Context(),
            SpanKind.PRODUCER,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "send",
                "messaging.destination.name": self._topic,
                "messaging.message.id": id,
            },
            start_time=intended_ns,
        )
        return span, traceparent_of(span)
