"""What is it that listens at Triton's address, where gRPC gets no answer from it."""

import http.client
import ssl
from socket import create_connection

TIMEOUT_S = 1.0


def speaks_http(address: str) -> bool:
    """Whether what listens there answers HTTP/1.1, which no gRPC server does."""
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


def tls_mismatch(address: str, tls: bool) -> str | None:
    """What is wrong with the setting `tls` for this server; None: nothing that can be told."""
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
    """None: nothing listens there, or it does not answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent to it: whose certificate it is does not matter.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with create_connection(_split(address), TIMEOUT_S) as raw, context.wrap_socket(raw):
            return True
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":  # bytes that are no record of TLS
            return False
        return True if "ALERT" in (error.reason or "") else None
    except OSError:
        return None


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
