"""The cloud on a port, for real clients: openstacksdk, Ansible's uri."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.ansible.openstack.cloud import TOKEN, ApiError, Cloud
from tests.ansible.openstack.services import answer


def _check_token(path: str, token: str) -> None:
    if "auth/tokens" not in path and token != TOKEN:
        raise ApiError(401, "bad token")


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = json.loads(
                self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"
            )
            with cloud.lock:
                cloud.requests.append((self.command, parts.path))
                if self.command != "GET":
                    cloud.bodies.append((parts.path, body))
                try:
                    _check_token(parts.path, self.headers.get("X-Auth-Token", TOKEN))
                    status, said = answer(
                        cloud, self.command, parts.path, parse_qs(parts.query), body
                    )
                except ApiError as error:
                    status = error.status
                    key = "forbidden" if status == 403 else "error"
                    said = {
                        key: {"code": status, "message": str(error)},
                        "error_message": str(error),
                    }
                except KeyError as error:
                    status, said = 404, {"itemNotFound": {"code": 404, "message": f"no {error}"}}
                text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Subject-Token", TOKEN)
            self.send_header("Content-Length", "0" if status == 204 else str(len(text)))
            self.end_headers()
            if status != 204:
                self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - names http.server asks for

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are kept in the cloud, not printed."""

    return Handler


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """A cloud on a free port of the loopback address."""
    cloud = Cloud()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cloud))
    server.daemon_threads = True
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
