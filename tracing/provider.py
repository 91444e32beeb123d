"""The destination of spans: OTLP over HTTP unless the environment says otherwise."""

import os
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from tracing.errors import TracingError

EXPORTERS: dict[str, Callable[[], SpanExporter] | None] = {
    "otlp": OTLPSpanExporter,
    "console": ConsoleSpanExporter,
    "none": None,
}
"""The exporters, by the value of `OTEL_TRACES_EXPORTER`. The SDK itself reads the other variables:
endpoint, headers, timeout, sampler, limits, batching."""
PROTOCOL = "http/protobuf"


def make_provider(service: str) -> TracerProvider:
    """A provider that exports in batches from its own thread; spans that it cannot send are
    dropped.

    Raises:
        TracingError: the exporter or the protocol does not exist here.
    """
    name = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if name not in EXPORTERS:
        known = ", ".join(EXPORTERS)
        raise TracingError(f"OTEL_TRACES_EXPORTER is one of {known}, not {name[:80]!r}")
    exporter = EXPORTERS[name]
    if name == "otlp":
        _require_http()
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    return provider


def _require_http() -> None:
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(variable)
        if protocol and protocol != PROTOCOL:
            raise TracingError(f"{variable} is {protocol[:80]!r}; only {PROTOCOL} is supported")


def _resource(service: str) -> Resource:
    # A name that is given to the SDK would win over the environment, so it is merged last.
    found = Resource.create()
    named = found.attributes.get(SERVICE_NAME, "")
    if str(named).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: service}))
    return found
