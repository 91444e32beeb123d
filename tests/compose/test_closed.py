"""What changes a running Triton is closed to everyone, on a real server."""

import re
import socket
import subprocess
from collections.abc import Iterator

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from stack.triton import Triton
from tests.compose.engine import ROOT


@pytest.fixture(scope="module")
def key() -> str:
    """The restriction's key, as the script in docker-compose.yaml makes it."""
    text = (ROOT / "docker-compose.yaml").read_text()
    found = re.search(r'^ +(key="closed=\n) +(\$\$\(.*\)")$', text, re.MULTILINE)
    assert found is not None
    script = found[1] + found[2].replace("$$", "$") + '; printf "%s" "$key"'
    done = subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def triton(key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    text = (ROOT / "docker-compose.yaml").read_text()
    flags = dict(re.findall(r'(--(?:http|grpc)-restricted-\w+)="([\w,-]+):\$\$key"', text))
    assert set(flags) == {"--http-restricted-api", "--grpc-restricted-protocol"}
    repository = tmp_path_factory.mktemp("models")
    arguments = [f"{name}={what}:{key}" for name, what in flags.items()]
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
    value = key.removeprefix("closed=")
    assert "\n" in value, "no header can hold that"
    assert "403" in ask(triton)
    for header in (f"closed: {value}", f"closed:{value}", f"closed: {value.strip()}"):
        assert "200" not in ask(triton, header)
    assert "200" not in ask(triton, "closed: \r\n " + value.strip()), "folded lines"


def test_grpc_has_no_header_that_opens_it(triton: Triton, key: str) -> None:
    value = key.removeprefix("closed=")
    with InferenceServerClient(triton.grpc) as client:
        assert client.is_server_live()
        for text in ("", value.strip()):
            with pytest.raises(InferenceServerException, match="restricted"):
                client.get_log_settings(headers={"triton-grpc-protocol-closed": text})


def test_a_key_holds_a_line_break_and_what_is_another_at_each_start(key: str) -> None:
    assert re.fullmatch(r"closed=\n[0-9a-f-]{36}", key)
