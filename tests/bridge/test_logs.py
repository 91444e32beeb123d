"""What OpenTelemetry complains of is an event of the bridge's log, and does not fill it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from bridge.logs import configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.getLogger("opentelemetry").handlers = []


def test_the_same_complaint_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    library = logging.getLogger("opentelemetry.exporter.any")
    for attempt in range(5):
        library.warning("no collector, attempt %d", attempt)
    library.error("spans dropped")
    library.info("not worth a line")
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(event["event"], event["error"]) for event in events] == [
        ("tracing", "no collector, attempt 0"),
        ("tracing", "spans dropped"),
    ]
