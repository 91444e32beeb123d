"""What listens at Triton's address: servers that are not what the settings say."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import trustme

from bridge.inference import InferenceError
from bridge.triton.client import Tls, TritonServer
from bridge.triton.peer import speaks_http, tls_mismatch


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """The address of a gRPC server, and whether it speaks TLS."""
    found = grpc.server(ThreadPoolExecutor(1))
    if request.param == "TLS":
        own = trustme.CA().issue_cert("127.0.0.1")
        chain = b"".join(part.bytes() for part in own.cert_chain_pems)
        credentials = grpc.ssl_server_credentials([(own.private_key_pem.bytes(), chain)])
        port = found.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = found.add_insecure_port("127.0.0.1:0")
    found.start()
    yield f"127.0.0.1:{port}", request.param == "TLS"
    found.stop(None).wait()


def test_a_grpc_port_is_not_called_an_http_port(server: tuple[str, bool]) -> None:
    assert not speaks_http(server[0])


def test_a_server_that_is_spoken_to_as_it_is_gets_no_advice(server: tuple[str, bool]) -> None:
    address, tls = server
    assert tls_mismatch(address, tls) is None


def test_tls_that_is_missing_or_too_much_is_told(server: tuple[str, bool]) -> None:
    address, tls = server
    client = TritonServer(address, "net", tls=None if tls else Tls())
    said = "speaks TLS: set triton_tls" if tls else "does not speak TLS: leave triton_tls"
    with pytest.raises(InferenceError, match=f"{address} {said}"):
        client.load_spec()
    client.close()


def test_where_nothing_listens_no_advice_is_given() -> None:
    assert tls_mismatch("127.0.0.1:1", tls=True) is None
    assert tls_mismatch("127.0.0.1:1", tls=False) is None
