"""Finds out what listens at an address where the expected server does not answer."""

import http.client
import ssl
import struct
from socket import create_connection

TIMEOUT_S = 1.0
CORRELATION = 1_835_365_473
"""A number that Kafka's answer repeats; no other server would send it by chance."""


def speaks_http(address: str) -> bool:
    """Whether the server there answers HTTP/1.1, which no gRPC server does."""
    host, port = _split(address)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/v2/health/live")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def speaks_grpc(address: str) -> bool:
    """Whether the server there speaks HTTP/2 without TLS, as gRPC does."""
    # In HTTP/2 both sides begin with a frame of settings, whose type is 4.
    begun = _reply(
        address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)), 4
    )
    return begun[3:] == b"\x04"


def speaks_kafka(address: str) -> bool:
    """Whether the server there answers Kafka's request for the API versions that it supports."""
    asked = struct.pack(">hhih", 18, 0, CORRELATION, -1)  # ApiVersions, without a client's name
    return _reply(address, struct.pack(">i", len(asked)) + asked, 8)[4:] == struct.pack(
        ">i", CORRELATION
    )


def _reply(address: str, sent: bytes, size: int) -> bytes:
    """The first bytes of the answer, fewer where no more come."""
    found = b""
    try:
        with create_connection(_split(address), TIMEOUT_S) as connection:
            connection.sendall(sent)
            while len(found) < size and (more := connection.recv(size - len(found))):
                found += more
    except OSError:
        pass
    return found


def not_triton(address: str) -> str | None:
    """The protocol that is spoken there instead of Triton's gRPC; None: it is unknown."""
    if speaks_http(address):
        return (
            f"{address} speaks HTTP and not gRPC: Triton's gRPC port is 8001 by default, 8000 is "
            "its HTTP port"
        )
    if speaks_kafka(address):
        return f"{address} is Kafka, not Triton: are the addresses of the two swapped?"
    return None


def not_kafka(address: str) -> str | None:
    """The protocol that is spoken there instead of Kafka's; None: it is unknown."""
    if speaks_http(address):
        return f"{address} speaks HTTP and not Kafka's protocol"
    if speaks_grpc(address):
        return f"{address} speaks gRPC, as Triton does: are the addresses of the two swapped?"
    return None


def tls_mismatch(address: str, tls: bool) -> str | None:
    """Why the setting `tls` does not fit this server; None: it fits, or that cannot be found
    out."""
    spoken = _speaks_tls(address)
    if spoken and not tls:
        return (
            f"{address} speaks TLS: set triton_tls (--triton-tls), and triton_ca where its "
            "certificate is signed by your own authority"
        )
    if tls and spoken is False:
        return f"{address} does not speak TLS: leave triton_tls (--triton-tls) out"
    return None


def _speaks_tls(address: str) -> bool | None:
    """Whether the server speaks TLS; None: nothing listens there, or it does not answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent to the server, so its certificate does not matter.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with create_connection(_split(address), TIMEOUT_S) as raw, context.wrap_socket(raw):
            return True
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":  # the answer is no TLS record
            return False
        return True if "ALERT" in (error.reason or "") else None
    except OSError:
        return None


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
