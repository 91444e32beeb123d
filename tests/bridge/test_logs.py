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


def test_a_warning_that_is_repeated_is_one_line_but_not_while_debugging(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def say() -> list[str]:
        log = structlog.get_logger()
        for attempt in range(3):
            log.warning("commit_failed", error=f"attempt {attempt}")
            log.warning("waiting_for_triton", error="refused" if attempt else "not there")
            log.warning("triton_left_alone", server=f"triton-{attempt}")
            log.info("rebalanced")
            log.error("refused")
        return [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]

    configure("info", "json")
    said = say()
    assert len(said) == 12
    assert said.count("commit_failed") == 1
    assert said.count("waiting_for_triton") == 2
    structlog.reset_defaults()
    configure("debug", "json")
    assert len(say()) == 15
