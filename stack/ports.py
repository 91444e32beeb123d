"""TCP ports on the loopback interface."""

import random
import socket
from contextlib import ExitStack

from stack.errors import StackError

HOST = "127.0.0.1"

RANGE = range(20_000, 32_000)
"""Ports below Linux's ephemeral ports (from 32768): while a server restarts, the kernel could give
an ephemeral port to an outgoing connection, even to a client that is trying to reach that
server."""

TRIES = 200


def free_ports(count: int) -> list[int]:
    """Pick `count` different ports on which nobody listens.

    Raises:
        StackError: there are not enough free ports.
    """
    with ExitStack() as held:
        ports: list[int] = []
        # Random, not for secrecy, but so that stacks that start together rarely choose the same
        # port.
        for port in random.sample(RANGE, TRIES):
            if len(ports) == count:
                break
            try:
                held.enter_context(_bound(port))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < count:
        raise StackError(f"no {count} free ports between {RANGE.start} and {RANGE.stop - 1}")
    return ports


def require_free(port: int, what: str) -> None:
    """Refuse a port that is in use, before a server fails on it with a page of text.

    Raises:
        StackError: the port is in use, or this user may not bind it.
    """
    try:
        _bound(port).close()
    except (OSError, OverflowError) as error:
        raise StackError(
            f"{what}: port {port} on {HOST} is not available ({error}); "
            "choose another one, or none to get a free one"
        ) from None


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # As servers do: lingering connections of an earlier run do not count as in use.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener
