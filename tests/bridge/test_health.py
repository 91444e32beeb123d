"""Health and metrics over HTTP, whoever asks."""

import socket
import struct
from collections.abc import Callable, Iterator
from threading import Event

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from bridge.health import HealthServer
from tests.waiting import eventually

HANG_UP = struct.pack("ii", 1, 0)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[], dict[str, str]]], int]]:
    """Starts a server with this check of readiness; its port."""
    servers: list[HealthServer] = []

    def start(ready: Callable[[], dict[str, str]]) -> int:
        server = HealthServer("127.0.0.1", 0, CollectorRegistry(), dict, ready)
        server.start()
        servers.append(server)
        return server.port

    yield start
    for server in servers:
        server.stop()


def ask(port: int) -> socket.socket:
    asking = socket.create_connection(("127.0.0.1", port), timeout=10)
    asking.sendall(b"GET /health/ready HTTP/1.0\r\n\r\n")
    return asking


def test_a_probe_that_hangs_up_leaves_nothing_in_the_log(
    serve: Callable[[Callable[[], dict[str, str]]], int], capfd: pytest.CaptureFixture[str]
) -> None:
    asked, gone, told = Event(), Event(), Event()

    def ready() -> dict[str, str]:
        asked.set()
        assert gone.wait(10)
        told.set()
        return {"much": "x" * 1_000_000}

    port = serve(ready)
    with capture_logs() as logs:
        asking = ask(port)
        assert asked.wait(10)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP)
        asking.close()
        gone.set()
        assert told.wait(10)
        with ask(port) as following:
            assert following.recv(100).startswith(b"HTTP/1.0 503 ")
    assert not logs
    assert capfd.readouterr().err == ""


def test_a_check_that_fails_is_one_event(
    serve: Callable[[Callable[[], dict[str, str]]], int], capfd: pytest.CaptureFixture[str]
) -> None:
    def ready() -> dict[str, str]:
        raise ZeroDivisionError

    port = serve(ready)
    with capture_logs() as logs:
        with ask(port) as asking:
            assert asking.recv(100) == b""  # no answer is no yes
        eventually(lambda: logs)
    assert [line["event"] for line in logs] == ["health_request_failed"]
    assert capfd.readouterr().err == ""
