"""Between a `traceparent` header and OpenTelemetry's context.

`tracestate` is neither read nor written: it is another vendor's, of any size.
"""

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from wire.trace import TraceParent, parse_traceparent


def remote_context(traceparent: str | None) -> Context:
    """The context of a message; an empty one, of a trace that begins here, where there is none.

    Args:
        traceparent: valid, as `wire` reads it.
    """
    if traceparent is None:
        return Context()
    parent = parse_traceparent(traceparent)
    return set_span_in_context(
        NonRecordingSpan(
            SpanContext(parent.trace_id, parent.span_id, True, TraceFlags(parent.flags))
        ),
        Context(),
    )


def traceparent_of(span: Span) -> str:
    """The header of a message that continues `span`."""
    context = span.get_span_context()
    return str(TraceParent(context.trace_id, context.span_id, context.trace_flags))
