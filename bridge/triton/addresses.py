"""Where the Triton servers are: addresses from the settings, and what DNS gives for a name."""

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from cli.options import host_port

log = structlog.get_logger()

DNS = "dns:///"
MAX_SERVERS = 64
"""Most servers that are used at a time: each has a connection, a thread and its own series of
metrics."""

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the IP addresses of a host name and port; raises OSError where DNS gives none."""


class Target(NamedTuple):
    """One address of the setting.

    Attributes:
        dns: whether `host` is a DNS name of any number of servers, resolved again and again.
    """

    host: str
    port: int
    dns: bool


class Address(NamedTuple):
    """One server.

    Attributes:
        text: HOST:PORT, as gRPC takes it.
        name: the host name in its certificate, where that is not the host of `text`.
    """

    text: str
    name: str | None = None


def parse_targets(text: str) -> list[Target]:
    """Read a list such as "a:8001,b:8001,dns:///triton.ns.svc:8001".

    Raises:
        ValueError: a part is no address; the text says which one.
    """
    targets: list[Target] = []
    for part in text.split(","):
        one = part.strip()
        dns = one.startswith(DNS)
        try:
            host, _, port = host_port(one.removeprefix(DNS)).rpartition(":")
        except ValueError as error:
            raise ValueError(f"{error}; several: HOST:PORT,HOST:PORT or {DNS}HOST:PORT") from None
        target = Target(host, int(port), dns)
        if target in targets:
            raise ValueError(f"{one!r} is named twice")
        targets.append(target)
    if len(targets) > MAX_SERVERS:
        raise ValueError(f"{len(targets)} addresses are more than {MAX_SERVERS}")
    return targets


def lookup(host: str, port: int) -> list[str]:
    """The IP addresses of a name, by the system's resolver.

    Raises:
        OSError: the resolver does not answer, or knows no such name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(one[4][0]) for one in found})


class Addresses:
    """The servers that the setting names at this moment.

    Args:
        text: a list of addresses, as `parse_targets` reads it.
        resolve: asks DNS.
    """

    def __init__(self, text: str, resolve: Resolve = lookup) -> None:
        self._targets = parse_targets(text)
        self._resolve = resolve
        self._known: dict[Target, list[Address]] = {}
        self._problems: dict[Target, str] = {}
        self.changing = any(target.dns for target in self._targets)
        """Whether the servers can change, so that it is worth asking again."""

    @property
    def problem(self) -> str | None:
        """Why DNS names cannot be resolved; None where all can."""
        return "; ".join(self._problems.values()) or None

    def now(self) -> list[Address]:
        """All servers, `MAX_SERVERS` at most; may wait for DNS.

        While DNS does not answer, the addresses that it gave last are used: a failure of DNS has
        moved no server.
        """
        found: dict[str, Address] = {}
        for target in self._targets:
            for address in self._of(target):
                found.setdefault(address.text, address)
        if len(found) > MAX_SERVERS:
            log.warning("triton_addresses_left_out", found=len(found), used=MAX_SERVERS)
        return list(found.values())[:MAX_SERVERS]

    def _of(self, target: Target) -> list[Address]:
        if not target.dns:
            return [Address(f"{target.host}:{target.port}")]
        try:
            hosts = self._resolve(target.host, target.port)
        except OSError as error:
            problem = f"DNS does not tell where {target.host} is: {error.strerror or error}"
            if target not in self._problems:
                log.warning("triton_not_resolved", host=target.host, error=str(error))
            self._problems[target] = problem
            return self._known.get(target, [])
        self._problems.pop(target, None)
        self._known[target] = [
            Address(f"[{host}]:{target.port}" if ":" in host else f"{host}:{target.port}",
                    target.host)
            for host in hosts
        ]  # fmt: skip
        return self._known[target]
