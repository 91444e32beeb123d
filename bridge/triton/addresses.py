"""Where the Tritons are: addresses as the settings name them, and what DNS says of a name."""

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from cli.options import host_port

log = structlog.get_logger()

DNS = "dns:///"
MAX_SERVERS = 64
"""Servers that are used at a time: each has a connection, a thread and series of metrics of its
own."""

Resolve = Callable[[str, int], Sequence[str]]
"""IP addresses of a host name; raises OSError where DNS does not answer, or knows none."""


class Target(NamedTuple):
    """One address of the setting.

    Attributes:
        dns: whether `host` stands for any number of servers, resolved again and again.
    """

    host: str
    port: int
    dns: bool


class Address(NamedTuple):
    """One server.

    Attributes:
        text: HOST:PORT, as gRPC takes it.
        name: what its certificate says, where that is not the host of `text`.
    """

    text: str
    name: str | None = None


def parse_targets(text: str) -> list[Target]:
    """Read "a:8001,b:8001,dns:///triton.ns.svc:8001".

    Raises:
        ValueError: it is not that; the text says which part.
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
        OSError: it does not answer, or knows no such name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(one[4][0]) for one in found})


class Addresses:
    """The servers that the setting names at this moment.

    Args:
        text: as `parse_targets` takes it.
        resolve: asks DNS.
    """

    def __init__(self, text: str, resolve: Resolve = lookup) -> None:
        self._targets = parse_targets(text)
        self._resolve = resolve
        self._known: dict[Target, list[Address]] = {}
        self._problems: dict[Target, str] = {}
        self.changing = any(target.dns for target in self._targets)
        """Whether it is worth asking again."""

    @property
    def problem(self) -> str | None:
        """What DNS does not tell; None where it tells all."""
        return "; ".join(self._problems.values()) or None

    def now(self) -> list[Address]:
        """All servers, `MAX_SERVERS` at most; may wait for DNS.

        While DNS does not answer, the addresses that it gave last are those of the name: DNS that
        is away has moved no server.
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
