"""The network that trials break loses nothing by itself."""

import socket
from threading import Thread

import pytest

from tests.faults.proxy import Proxy

ANSWER = b"x" * 100_000


def answer_and_close(listener: socket.socket) -> None:
    """Answer and close, as a server that keeps no connection."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(100)
        connection.sendall(ANSWER)


@pytest.mark.parametrize("how", ["well", "slow", "drip"])
def test_what_was_sent_before_the_end_arrives_however_late(how: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Proxy(listener.getsockname()[1]) as proxy,
    ):
        if how == "slow":
            proxy.slow(0.1)
        elif how == "drip":
            proxy.drip()
        server = Thread(target=answer_and_close, args=(listener,))
        server.start()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
            client.sendall(b"question")
            found = b""
            while data := client.recv(1 << 16):
                found += data
        server.join()
    assert found == ANSWER
