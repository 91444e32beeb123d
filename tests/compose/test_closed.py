"""What changes a running Triton is closed to everyone, on a real server."""

import re
import socket
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from textwrap import dedent

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from stack.triton import Triton
from tests.compose.engine import ROOT

COMPOSE = ROOT / "docker-compose.yaml"
CHART = ROOT / "deploy/helm/triton-kafka/templates/triton/deployment.yaml"
OPEN = "open=sesame"
"""A key that can be sent: it shows that requests with a header of the tests' own making arrive."""
# Of HTTP/2's frames: kinds, and flags.
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4


def script_of(file: Path) -> str:
    """The lines that make the restriction's key and start Triton, as the shell reads them."""
    lines = re.compile(r'^ +key="(?:.*\n)+? +--grpc-restricted-protocol=.*\n', re.MULTILINE)
    found = lines.search(file.read_text())
    assert found is not None
    return dedent(found[0].replace("$$", "$"))


@pytest.fixture(scope="module")
def key() -> str:
    """The restriction's key, as the script in docker-compose.yaml makes it."""
    made, _, _ = script_of(COMPOSE).partition("exec ")
    script = f'{made}printf "%s" "$key"'
    done = subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def triton(key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    restricted = re.compile(r'(--(?:http|grpc)-restricted-\w+)="([\w,-]+):\$key"')
    flags = dict(restricted.findall(script_of(COMPOSE)))
    assert set(flags) == {"--http-restricted-api", "--grpc-restricted-protocol"}
    repository = tmp_path_factory.mktemp("models")
    arguments = [f"{name}={what}:{key}" for name, what in flags.items()]
    arguments.append(f"--grpc-restricted-protocol=statistics:{OPEN}")
    with Triton(repository, tmp_path_factory.mktemp("triton"), arguments=arguments) as server:
        yield server


def ask(triton: Triton, *headers: str) -> str:
    """The status line of a look at the log settings, or nothing where the server hangs up."""
    host, _, port = triton.http.rpartition(":")
    lines = ["GET /v2/logging HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(4096).decode().partition("\r\n")[0]


def test_http_has_no_header_that_opens_it(triton: Triton, key: str) -> None:
    name, value = key.split("=")
    assert "403" in ask(triton)
    names = {name, name.replace("\n", ""), name.replace("\n", "\r\n "), *name.split()}
    values = {value, value.replace("\n", ""), value.replace("\n", "\r\n "), *value.split()}
    for one, other, space in product(names, values, (" ", "")):
        assert "200" not in ask(triton, f"{one}:{space}{other}")


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


def literal(name: str, value: str, first: bytes = b"\x00") -> bytes:
    """A header as HPACK's literal (RFC 7541, section 6.2), which nothing here checks."""
    return first + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def call(triton: Triton, method: str, *extra: bytes) -> bytes:
    """What comes back on one stream for an empty request over gRPC: its frames' bodies."""
    headers = [
        literal(":method", "POST"),
        literal(":scheme", "http"),
        literal(":path", f"/inference.GRPCInferenceService/{method}"),
        literal(":authority", "localhost"),
        literal("te", "trailers"),
        literal("content-type", "application/grpc"),
    ]
    host, _, port = triton.grpc.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0)
            + frame(HEADERS, END_HEADERS, 1, b"".join([*headers, *extra]))
            + frame(DATA, END_STREAM, 1, bytes(5))
        )
        seen = b""
        with connection.makefile("rb") as frames:
            while head := frames.read(9):
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
                body = frames.read(int.from_bytes(head[:3]))
                if stream == 1:
                    seen += body
                if kind in (RST_STREAM, GOAWAY) or (stream == 1 and flags & END_STREAM):
                    break
        return seen


def test_grpc_has_no_header_that_opens_it(triton: Triton, key: str) -> None:
    with InferenceServerClient(triton.grpc) as client:
        assert client.is_server_live()
        _, value = key.split("=")
        for text in ("", *value.split()):
            with pytest.raises(InferenceServerException, match="restricted"):
                client.get_log_settings(headers={"triton-grpc-protocol-closed": text})


@pytest.mark.parametrize("first", [b"\x00", b"\x10", b"\x40"], ids=["plain", "never", "indexed"])
def test_no_client_of_its_own_making_opens_it_over_grpc(
    triton: Triton, key: str, first: bytes
) -> None:
    """gRPC's server takes a line break in a header's value, but none in its name."""
    name, _, word = OPEN.partition("=")
    sent = literal(f"triton-grpc-protocol-{name}", word, first)
    assert b"grpc-status\x010" in call(triton, "ModelStatistics", sent), "what may be opened, is"
    name, value = key.split("=")
    for one in (name, *name.split(), name.replace("\n", "")):
        for other in (value, *value.split(), value.replace("\n", "")):
            answer = call(
                triton, "LogSettings", literal(f"triton-grpc-protocol-{one}", other, first)
            )
            assert b"grpc-status\x010" not in answer
            assert b"log_verbose_level" not in answer


def test_a_key_has_a_line_break_in_its_name_and_another_value_at_each_start(key: str) -> None:
    assert re.fullmatch(r"clo\nsed=by\n[0-9a-f-]{36}", key)


def test_the_chart_starts_triton_with_the_same_restrictions() -> None:
    def but_for_the_models(file: Path) -> str:
        return re.sub("--model-repository=\\S+", "", script_of(file))

    assert but_for_the_models(CHART) == but_for_the_models(COMPOSE)
