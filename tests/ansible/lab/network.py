"""A network of lab machines, with the machine that runs the tests as one more on it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.ansible.lab.machine import Machine

# Long enough for a loaded machine to answer; what the firewall drops takes all of it.
CONNECT_TIMEOUT_S = 5


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class Network:
    """A bridge."""

    name: str
    prefix: str
    attached: int = 0

    @property
    def subnet(self) -> str:
        return f"{self.prefix}.0/24"

    def attach(self, machine: Machine) -> str:
        """Give a booted machine an interface until it reboots; its address."""
        self.attached += 1
        port, address = f"{self.name}p{self.attached}", f"{self.prefix}.{9 + self.attached}"
        peer = ["peer", "name", "lab0", "netns", str(machine.init)]
        _ip("link", "add", port, "type", "veth", *peer)
        _ip("link", "set", port, "master", self.name, "up")
        machine.run("ip", "address", "add", f"{address}/24", "dev", "lab0")
        machine.run("ip", "link", "set", "lab0", "up")
        return address


@contextmanager
def network() -> Iterator[Network]:
    # Of RFC 2544's range, in use nowhere; another one for each run that goes on beside this one.
    made = Network(f"lab{os.getpid()}", f"198.18.{os.getpid() % 256}")
    _ip("link", "add", made.name, "type", "bridge")
    try:
        _ip("address", "add", f"{made.prefix}.1/24", "dev", made.name)
        _ip("link", "set", made.name, "up")
        yield made
    finally:
        _ip("link", "delete", made.name)


def reaches(address: str, port: int) -> bool:
    """Whether the machine that runs the tests can connect."""
    try:
        socket.create_connection((address, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
