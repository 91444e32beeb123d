"""Tracing is off and absent unless it is asked for; asked for, it does what OTEL_* say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracing.errors import TracingError
from tracing.start import start_tracing, stop_tracing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    code = (
        "import sys, bridge.run, producer.run, consumer.run\n"
        "print(*(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "command",
    [
        ("bridge/run.py", "--tracing"),
        ("producer/run.py", "cifar10", "--tracing"),
        ("consumer/run.py", "--tracing"),
    ],
    ids=lambda command: command[0].partition("/")[0],
)
def test_without_the_extra_it_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    # An empty package hides the one that is installed.
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, str(ROOT / command[0]), *command[1:]],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "400", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert re.search(r"'tracing' extra \(.*pip install .*\[tracing\]'\)", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "one of otlp, console, none, not 'zipkin'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf is supported"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "only http/protobuf is supported"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    variable: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(TracingError, match=f"{variable}.*{complaint}"):
        start_tracing("a")


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "a"),
        ({"OTEL_SERVICE_NAME": "b"}, "b"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=c,host.name=h"}, "c"),
    ],
)
def test_the_environment_names_the_service_first(
    variables: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    provider = start_tracing("a")
    assert provider.resource.attributes["service.name"] == name
    stop_tracing(provider)


@pytest.mark.parametrize(("ratio", "recorded"), [("0", 0), ("1", 100)])
def test_the_share_that_is_recorded_is_the_samplers(
    ratio: str, recorded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    provider = start_tracing("a")
    tracer = provider.get_tracer("t")
    assert sum(tracer.start_span("s").is_recording() for _ in range(100)) == recorded
    stop_tracing(provider)


def test_stopping_what_never_started_does_nothing() -> None:
    stop_tracing(None)
