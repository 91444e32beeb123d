"""What listens at Triton's address: servers that are not what the settings say."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import trustme
from typer.testing import CliRunner

from bridge.doctor import app as doctor
from bridge.inference import InferenceError
from bridge.triton.client import Tls, TritonServer
from cli.peer import not_kafka, not_triton, speaks_grpc, speaks_http, tls_mismatch
from consumer.reading.command import app as read
from stack.kafka import Kafka
from stack.triton import Triton


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


def test_grpc_where_kafka_should_be_is_told(server: tuple[str, bool]) -> None:
    address, tls = server
    assert speaks_grpc(address) is not tls
    if not tls:
        assert not_kafka(address) == (
            f"{address} speaks gRPC, as Triton does: are the addresses of the two swapped?"
        )
    assert not_triton(address) is None


def test_of_what_says_nothing_nothing_is_told() -> None:
    for address in ("127.0.0.1:1", "nowhere.invalid:9092"):
        assert not_kafka(address) is None
        assert not_triton(address) is None


@pytest.mark.slow
def test_kafka_where_triton_should_be_is_told_and_the_other_way_round(
    kafka: Kafka, triton: Triton
) -> None:
    assert not_kafka(kafka.bootstrap) is None
    assert not_triton(triton.grpc) is None
    swapped = "are the addresses of the two swapped?"
    assert not_triton(kafka.bootstrap) == f"{kafka.bootstrap} is Kafka, not Triton: {swapped}"
    assert not_kafka(triton.grpc) == f"{triton.grpc} speaks gRPC, as Triton does: {swapped}"
    assert not_kafka(triton.http) == f"{triton.http} speaks HTTP and not Kafka's protocol"


@pytest.mark.slow
def test_swapped_addresses_are_said_by_the_commands(kafka: Kafka, triton: Triton) -> None:
    done = CliRunner().invoke(read, ["--brokers", triton.grpc])
    assert done.exit_code == 1
    assert "are the addresses of the two swapped?" in done.stderr
    done = CliRunner().invoke(doctor, ["--brokers", triton.grpc, "--triton", kafka.bootstrap])
    assert done.exit_code == 1
    assert done.stdout.count("are the addresses of the two swapped?") == 2
