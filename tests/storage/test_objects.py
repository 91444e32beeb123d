"""What the bridge expects of an object store: of a real one, and of the one in memory."""

import asyncio
import hashlib
import http.server
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

import pytest

from storage.client import Objects
from storage.objects import ObjectStorage, RefusedError, UnavailableError
from storage.redirects import own_hosts
from tests.faults.proxy import Proxy
from tests.storage.fakes import MemoryObjects
from tests.storage.server import BUCKET, BUILD_S, PRIVATE, ObjectServer
from wire.reference import Reference

pytestmark = pytest.mark.timeout(BUILD_S)

T = TypeVar("T")
STORE = f"s3://{BUCKET}"
KEYS = ["a.png", "in/b c.png", "ü%20+&#?.png", "100%.png", "..a/b..png", "a:b'*.png"]


def run(objects: ObjectStorage, call: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        await objects.connect()
        try:
            return await call()
        finally:
            await objects.close()

    return asyncio.run(main())


async def read(objects: ObjectStorage, reference: Reference) -> bytes:
    opened = await objects.open(reference)
    content = await opened.read()
    assert len(content) == opened.size
    return content


def real(timeout_s: float = 20) -> Objects:
    return Objects((STORE, "s3://nowhere"), timeout_s)


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.slow)])
def objects(request: pytest.FixtureRequest) -> Iterator[ObjectStorage]:
    """A store that has an object under each of `KEYS`, whose content is the key."""
    if request.param == "memory":
        memory = MemoryObjects()
        for key in KEYS:
            memory.put(STORE, key, key.encode())
        yield memory
        return
    server: ObjectServer = request.getfixturevalue("object_server")
    with server.in_environment():
        client = real()

        async def fill() -> None:
            for key in KEYS:
                await client.write(Reference("s3", BUCKET, key), key.encode())

        run(client, fill)
        yield real()


@pytest.mark.parametrize("key", KEYS)
def test_an_object_is_read_whole_under_its_very_key(objects: ObjectStorage, key: str) -> None:
    assert run(objects, lambda: read(objects, Reference("s3", BUCKET, key))) == key.encode()


def test_many_are_read_at_a_time(objects: ObjectStorage) -> None:
    async def all_of_them() -> list[bytes]:
        calls = [read(objects, Reference("s3", BUCKET, key)) for key in KEYS * 20]
        return list(await asyncio.gather(*calls))

    assert run(objects, all_of_them) == [key.encode() for key in KEYS * 20]


def test_an_object_that_is_not_there_is_refused(objects: ObjectStorage) -> None:
    with pytest.raises(RefusedError) as raised:
        run(objects, lambda: objects.open(Reference("s3", BUCKET, "missing")))
    assert raised.value.kind == "not_found"
    assert f"{STORE}/missing" in str(raised.value)


def test_an_object_is_read_only_as_it_is_meant(objects: ObjectStorage) -> None:
    etag = hashlib.md5(b"a.png").hexdigest()  # noqa: S324 - as S3 does
    same = Reference("s3", BUCKET, "a.png", etag=etag)
    assert run(objects, lambda: read(objects, same)) == b"a.png"


def test_an_object_that_has_changed_is_refused(objects: ObjectStorage) -> None:
    other = Reference("s3", BUCKET, "a.png", etag="0" * 32)
    with pytest.raises(RefusedError) as raised:
        run(objects, lambda: objects.open(other))
    assert raised.value.kind == "changed"


def test_what_the_real_one_refuses(object_server: ObjectServer) -> None:
    with object_server.in_environment():
        client = real()
        for reference, kind in (
            (Reference("s3", "nowhere", "a.png"), "not_found"),
            (Reference("s3", BUCKET, "a.png", version="01JB"), "refused"),
        ):
            with pytest.raises(RefusedError) as raised:
                run(client, lambda one=reference: client.open(one))  # type: ignore[misc]
            assert raised.value.kind == kind
            assert "\n" not in str(raised.value)


def test_wrong_credentials_say_nothing_about_the_object(object_server: ObjectServer) -> None:
    with object_server.in_environment(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        client = real()
        with pytest.raises(UnavailableError, match="SignatureDoesNotMatch"):
            run(client, lambda: client.open(Reference("s3", BUCKET, "a.png")))


def test_a_store_that_is_cut_off_is_unavailable(object_server: ObjectServer) -> None:
    with Proxy(object_server.port) as proxy, object_server.in_environment(proxy.port):
        proxy.cut()
        client = real(2)
        with pytest.raises(UnavailableError):
            run(client, lambda: client.open(Reference("s3", BUCKET, "a.png")))


class Answer(http.server.BaseHTTPRequestHandler):
    """A store that answers as its server says: a status, headers, a body."""

    protocol_version = "HTTP/1.1"
    server: "Answering"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Answering(http.server.ThreadingHTTPServer):
    def __init__(self, host: str, answer: tuple[int, dict[str, str], bytes]) -> None:
        super().__init__((host, 0), Answer)
        self.answer = answer
        self.asked: list[str] = []


@contextmanager
def answering(
    status: int, headers: dict[str, str] | None = None, body: bytes = b"", host: str = "127.0.0.1"
) -> Iterator[Answering]:
    with Answering(host, (status, headers or {}, body)) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: Answering, monkeypatch: pytest.MonkeyPatch) -> bytes:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, text in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, text)
    client = Objects((STORE,), 10)
    return run(client, lambda: read(client, Reference("s3", BUCKET, "a.png")))


OBJECT = {"ETag": '"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_to_another_host_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with answering(200, OBJECT, b"secret", host="127.0.0.2") as other:
        goal = {"Location": f"{scheme}://127.0.0.2:{other.server_port}/latest/meta-data"}
        with answering(302, goal) as server, pytest.raises(RefusedError) as raised:
            ask(server, monkeypatch)
        assert raised.value.kind == "redirected"
        assert other.asked == []
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", "forbidden"), (404, "NoSuchKey", "not_found"),
        (405, "MethodNotAllowed", "not_found"), (400, "InvalidArgument", "refused"),
        (412, "PreconditionFailed", "changed"),
    ],
)  # fmt: skip
def test_an_answer_about_the_object(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: str
) -> None:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    with answering(status, body=body) as server, pytest.raises(RefusedError) as raised:
        ask(server, monkeypatch)
    assert raised.value.kind == kind
    assert f"{status}" in str(raised.value)
    assert code in str(raised.value)


@pytest.mark.parametrize(
    ("status", "code", "busy"),
    [
        (500, "InternalError", False), (502, "", False), (503, "SlowDown", True),
        (429, "", True), (408, "", False), (401, "", False), (400, "ExpiredToken", False),
        (403, "RequestTimeTooSkewed", False), (403, "InvalidAccessKeyId", False),
        (400, "RequestTimeout", False),
    ],
)  # fmt: skip
def test_an_answer_that_says_nothing_about_the_object(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, busy: bool
) -> None:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    with answering(status, body=body) as server, pytest.raises(UnavailableError) as raised:
        ask(server, monkeypatch)
    assert raised.value.busy is busy
    assert len(server.asked) == 1, "whoever asks tries again, and not the client"


def test_content_that_ends_too_early_is_not_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {**OBJECT, "Content-Length": "100"}
    with answering(200, headers, b"half of it") as server, pytest.raises(UnavailableError):
        ask(server, monkeypatch)


def test_the_hosts_that_a_store_needs() -> None:
    minio = {"AWS_ENDPOINT_URL": "https://minio.example:9000/s3"}
    assert own_hosts("s3", plain_http=True, environment=minio) == (
        "minio.example", ".minio.example",
    )  # fmt: skip
    amazon = own_hosts("s3", plain_http=False, environment={})
    assert ".amazonaws.com" in amazon
    assert "169.254.169.254" in amazon, "credentials, by a client of their own"
    assert "169.254.169.254" not in own_hosts("s3", plain_http=True, environment={})


def test_only_the_stores_of_the_list_are_there() -> None:
    assert PRIVATE.startswith(BUCKET)
    client = Objects((STORE,), 10)
    with pytest.raises(KeyError):
        run(client, lambda: client.open(Reference("s3", PRIVATE, "a.png")))
