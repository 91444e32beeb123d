"""Asks a server over HTTP for its state."""

import http.client


def status(address: str, path: str, *, method: str = "GET", timeout_s: float = 2) -> int:
    """The HTTP status of `path` at `host:port`.

    Raises:
        OSError, http.client.HTTPException: there is no answer, or it is not HTTP.
    """
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def is_ok(address: str, path: str, *, method: str = "GET", timeout_s: float = 2) -> bool:
    """Whether `path` answers with status 200."""
    try:
        return status(address, path, method=method, timeout_s=timeout_s) == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
