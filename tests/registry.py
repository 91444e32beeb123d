"""A registry on this machine: one tag for two platforms, for those who have asked for a token."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "for-this-repository"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def described(content: bytes, media: str) -> dict[str, object]:
    return {"mediaType": media, "digest": digest_of(content), "size": len(content)}


@contextmanager
def registry(repository: str, tag: str) -> Iterator[tuple[str, str]]:
    """The registry's ``host:port``, and the digest of the tag's index."""
    contents: dict[str, tuple[str, bytes]] = {}
    manifests = []
    for architecture in ("amd64", "arm64"):
        platform = {"os": "linux", "architecture": architecture}
        rootfs = {"type": "layers", "diff_ids": []}
        config = json.dumps(platform | {"rootfs": rootfs}).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": described(config, CONFIG),
                "layers": [],
            }
        ).encode()
        contents[f"blobs/{digest_of(config)}"] = ("application/octet-stream", config)
        contents[f"manifests/{digest_of(manifest)}"] = (MANIFEST, manifest)
        manifests.append(described(manifest, MANIFEST) | {"platform": platform})
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
    contents[f"manifests/{tag}"] = contents[f"manifests/{digest_of(index)}"] = (INDEX, index)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/token":
                self._answer(200, "application/json", json.dumps({"token": TOKEN}).encode())
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._answer(401, "application/json", b"{}")
            elif path == "/v2/":
                self._answer(200, "application/json", b"{}")
            elif found := contents.get(path.removeprefix(f"/v2/{repository}/")):
                self._answer(200, *found)
            else:
                errors = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
                self._answer(404, "application/json", json.dumps(errors).encode())

        def _answer(self, status: int, media: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", digest_of(content))
            if status == 401:
                realm = f"http://{self.headers['Host']}/token"
                self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="lab"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", digest_of(index)
        server.shutdown()
