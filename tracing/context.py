"""Converts between a `traceparent` header and OpenTelemetry's context.

`tracestate` is neither read nor written: it belongs to other vendors and may have any size.
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
    """The context of a message; without a `traceparent` it is empty, and a trace begins here.

    Args:
        traceparent: a valid header, as read by `wire`.
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
