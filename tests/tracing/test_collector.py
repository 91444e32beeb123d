"""The programs, as a user starts them, send their spans to an OTLP collector."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.triton import Triton
from tests.conftest import Topics

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 20


class Collector:
    """Listens for OTLP over HTTP; services by trace id."""

    def __init__(self) -> None:
        self.traces: dict[bytes, set[str]] = defaultdict(set)
        self.changed = Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        with self.changed:
            for one in request.resource_spans:
                attributes = {a.key: a.value.string_value for a in one.resource.attributes}
                for scope in one.scope_spans:
                    for span in scope.spans:
                        self.traces[span.trace_id].add(attributes["service.name"])
            self.changed.notify_all()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


@pytest.mark.timeout(900)  # three programs beside both servers, each slow to start
def test_a_trace_has_spans_of_all_three_programs(
    kafka: Kafka,
    triton: Triton,
    topics: Topics,
    collector: Collector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    where = {
        "images_topic": topics.images,
        "predictions_topic": topics.predictions,
        "dead_letters_topic": topics.dead_letters,
    }
    settings = {"brokers": kafka.bootstrap, "triton": triton.grpc, "group": topics.images, **where}

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / program), *arguments, "--tracing"],
            capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    with Bridge({**settings, "tracing": "true"}, tmp_path):
        run(
            "producer/run.py", "cifar10", "--brokers", kafka.bootstrap, "--topic", topics.images,
            "--count", str(IMAGES), "--rate", "0",
        )  # fmt: skip
        topic_flags = [f"--{name.replace('_', '-')}={topic}" for name, topic in where.items()]
        run(
            "consumer/run.py", "--brokers", kafka.bootstrap, *topic_flags, "--start", "earliest",
            "--count", str(IMAGES), "--allow-backlog", "--output", str(tmp_path / "results"),
        )  # fmt: skip
    everyone = {"image-producer", "triton-kafka-bridge", "image-consumer"}

    def complete() -> bool:
        return list(collector.traces.values()) == [everyone] * IMAGES

    with collector.changed:
        assert collector.changed.wait_for(complete, 60), collector.traces
