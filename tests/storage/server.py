"""A real S3 server: Versity's gateway on a directory, built once from its Go module."""

import http.client
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from stack.paths import CACHE
from stack.ports import HOST, free_ports
from stack.probe import status
from stack.service import Command, Service
from tests.go_programs import GoError, install

VERSITYGW = ("github.com/versity/versitygw/cmd/versitygw", "v1.8.0")
BUCKET = "photos"
PRIVATE = "photos-private"
KEY, SECRET = "user", "a-secret"
BUILD_S = 600
"""Bound on a test that may have to build it first."""


@cache
def gateway() -> Path:
    """The program, built once; the test is skipped where that is not possible."""
    try:
        return install(CACHE / "versitygw", *VERSITYGW, timeout_s=BUILD_S)
    except GoError as error:
        pytest.skip(f"the S3 server: {error}")


class ObjectServer(Service):
    """An S3 server with two buckets. Its test is skipped where it cannot be built.

    Args:
        directory: keeps the objects.
        events: a Kafka broker and topic that notifications of created objects go to; None: none.
    """

    def __init__(self, directory: Path, events: tuple[str, str] | None = None) -> None:
        super().__init__("versitygw", directory)
        self._program = gateway()
        self._events = events
        self.port = free_ports(1)[0]

    def _prepare(self) -> Command:
        for name in (f"data/{BUCKET}", f"data/{PRIVATE}", "versions", "sidecar"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        events: list[str] = []
        if self._events is not None:
            broker, topic = self._events
            events = [f"--event-kafka-url={broker}", f"--event-kafka-topic={topic}"]
        arguments = [
            f"--port={HOST}:{self.port}", "--quiet", *events, "posix",
            f"--sidecar={self.directory}/sidecar", f"--versioning-dir={self.directory}/versions",
            f"{self.directory}/data",
        ]  # fmt: skip
        secrets = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
        return Command([str(self._program), *arguments], {**os.environ, **secrets})

    def _is_ready(self) -> bool:
        try:
            return status(f"{HOST}:{self.port}", "/") > 0
        except (OSError, http.client.HTTPException):
            return False

    def environment(self, port: int = 0) -> dict[str, str]:
        """What its clients' environment says, in whole; another port is that of a proxy."""
        return {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port or self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    @contextmanager
    def in_environment(self, port: int = 0) -> Iterator[None]:
        """Have this process, and those that it starts, use it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, text in self.environment(port).items():
                patch.setenv(name, text)
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                patch.delenv(name, raising=False)
                patch.delenv(name.lower(), raising=False)
            yield
