"""Liveness, readiness and metrics over HTTP."""

import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

log = structlog.get_logger()

Checks = Callable[[], dict[str, str]]
"""Returns the problems, a reason by name; the dictionary is empty when all is well."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A probe that hangs up before it has its answer is no event; any other error is logged in
        one line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("health_request_failed", exc_info=error)


class HealthServer:
    """Serves /health/live, /health/ready and /metrics.

    Args:
        port: 0 for any free port; the attribute `port` says which one it is.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, live: Checks, ready: Checks
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5  # a client that sends nothing must not hold a thread for ever

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                if path == "/metrics":
                    self._reply(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path in ("/health/live", "/health/ready"):
                    wrong = live() if path == "/health/live" else ready()
                    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
                    body = {"status": "failing" if wrong else "ok", "reasons": wrong}
                    self._reply(status, "application/json", orjson.dumps(body) + b"\n")
                else:
                    known = b"try /health/live, /health/ready or /metrics\n"
                    self._reply(HTTPStatus.NOT_FOUND, "text/plain", known)

            def _reply(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes come every few seconds; they are not events."""

        self._server = _Server((host, port), Handler)
        self._thread = Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
