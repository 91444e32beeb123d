"""A small schema registry over HTTP, held to the same contract test as a real one."""

import base64
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson


class FakeRegistry:
    """What the project asks of a registry, in memory, on a free port of loopback.

    Args:
        tls: the server's side of TLS; None: plain HTTP.

    Attributes:
        status: answered to everything, where it is set.
        credentials: user:password, where they are needed.
        requests: how many have come.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.status: int | None = None
        self.credentials: str | None = None
        self.requests = 0
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                self._answer(orjson.loads(self.rfile.read(length)))

            def _answer(self, body: Any) -> None:
                authorization = self.headers.get("Authorization", "")
                path = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
                status, value = registry.answer(authorization, path, body)
                raw = orjson.dumps(value)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if tls is not None:
            # The handshake is left to the thread of the connection: one that fails holds up none.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.url = self.url.replace("http:", "https:")
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, authorization: str, path: list[str], body: Any) -> tuple[int, Any]:
        self.requests += 1
        if self.status is not None:
            return self.status, {"error_code": self.status * 100, "message": "told to say so"}
        if self.credentials is not None:
            wanted = base64.b64encode(self.credentials.encode()).decode()
            if authorization != f"Basic {wanted}":
                return 401, {"error_code": 401, "message": "Unauthorized"}
        if path[:2] == ["schemas", "ids"] and body is None:
            return self._by_id(int(path[2]))
        if path[0] == "subjects" and path[2:] == ["versions"]:
            return self._register(path[1], _schema(body))
        if path[0] == "subjects" and len(path) == 2:
            return self._look_up(path[1], _schema(body))
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _by_id(self, schema_id: int) -> tuple[int, Any]:
        if not 0 < schema_id <= len(self._schemas):
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, self._schemas[schema_id - 1]

    def _register(self, subject: str, schema: dict[str, Any]) -> tuple[int, Any]:
        ids = self._subjects.setdefault(subject, [])
        if schema not in self._schemas:
            if ids and not _reads(schema, self._schemas[ids[-1] - 1]):
                return 409, {
                    "error_code": 409,
                    "message": "Schema being registered is incompatible",
                }
            self._schemas.append(schema)
        schema_id = self._schemas.index(schema) + 1
        if schema_id not in ids:
            ids.append(schema_id)
        return 200, {"id": schema_id, "version": ids.index(schema_id) + 1, **schema}

    def _look_up(self, subject: str, schema: dict[str, Any]) -> tuple[int, Any]:
        ids = self._subjects.get(subject)
        if ids is None:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        schema_id = self._schemas.index(schema) + 1 if schema in self._schemas else 0
        if schema_id not in ids:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, {
            "subject": subject,
            "id": schema_id,
            "version": ids.index(schema_id) + 1,
            **schema,
        }


def _schema(body: dict[str, Any]) -> dict[str, Any]:
    return {"schema": body["schema"], "schemaType": body.get("schemaType", "AVRO")}


def _reads(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """The rule BACKWARD, of Avro records, in so far as the tests need it."""
    if new["schemaType"] != "AVRO" or old["schemaType"] != "AVRO":
        return bool(new["schemaType"] == old["schemaType"])
    known = {one["name"]: one["type"] for one in orjson.loads(old["schema"])["fields"]}
    return all(
        one["type"] == known[one["name"]] if one["name"] in known else "default" in one
        for one in orjson.loads(new["schema"])["fields"]
    )
